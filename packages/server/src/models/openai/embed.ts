/** Vectors for texts. @see https://platform.openai.com/docs/api-reference/embeddings */
import { type Fetch, ModelError } from '@posthouse/contract'
import { readRefusal, toModelError } from '../wire/failure.ts'
import { timeoutsOf } from '../wire/settings.ts'
import { createWatch } from '../wire/watch.ts'
import { headersOf, type OpenAiSettings, urlOf } from './api.ts'

/** Providers differ in how many texts one request may hold; DashScope takes 10, OpenAI 2048. */
const BATCH = 64

interface Answer {
  readonly data?: readonly { readonly index?: number; readonly embedding?: unknown }[]
}

/** Answers one vector per text, in the order of the texts. Throws {@link ModelError}. */
export async function embed(
  texts: readonly string[],
  settings: OpenAiSettings,
  fetch: Fetch,
  redact: (text: string) => string,
  signal: AbortSignal,
): Promise<readonly (readonly number[])[]> {
  const vectors: (readonly number[])[] = []
  const size = settings.embedding_batch ?? BATCH
  for (let start = 0; start < texts.length; start += size) {
    vectors.push(...(await embedBatch(texts.slice(start, start + size), settings, fetch, redact, signal)))
  }
  return vectors
}

async function embedBatch(
  texts: readonly string[],
  settings: OpenAiSettings,
  fetch: Fetch,
  redact: (text: string) => string,
  signal: AbortSignal,
): Promise<readonly (readonly number[])[]> {
  const timeouts = timeoutsOf(settings)
  // The whole answer is one token here: it may take as long as a whole answer.
  using watch = createWatch({ ...timeouts, firstToken: timeouts.total }, signal)
  try {
    const response = await fetch(urlOf(settings, '/embeddings'), {
      method: 'POST',
      headers: headersOf(settings),
      body: JSON.stringify({ model: settings.model, input: texts, encoding_format: 'float' }),
      signal: watch.signal,
      connectTimeout: timeouts.connect,
    })
    const text = await response.text()
    if (response.status !== 200) throw toModelError(readRefusal(text), redact, { status: response.status, headers: response.headers })
    const vectors = read(JSON.parse(text) as Answer, texts.length)
    watch.complete()
    return vectors
  } catch (error) {
    throw watch.explain(error)
  }
}

function read(answer: Answer, count: number): readonly (readonly number[])[] {
  const vectors: (readonly number[] | undefined)[] = new Array(count).fill(undefined)
  for (const [position, { index, embedding }] of (answer.data ?? []).entries()) {
    if (Array.isArray(embedding) && embedding.length > 0 && embedding.every(Number.isFinite)) vectors[index ?? position] = embedding
  }
  const whole = vectors.filter((vector) => vector !== undefined)
  if (whole.length !== count) throw new ModelError('malformed', `${count} texts were sent, ${whole.length} vectors came back`)
  return whole
}
