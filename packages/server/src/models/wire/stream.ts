/** One streamed call to a provider: request, limits, server-sent messages in, model events out. */

import { StringDecoder } from 'node:string_decoder'
import { type Fetch, type FetchResponse, ModelError, type ModelEvent } from '@posthouse/contract'
import { createParser } from 'eventsource-parser'
import { readRefusal, toModelError } from './failure.ts'
import { createWatch, type Timeouts } from './watch.ts'

/** Characters of one server-sent message; bytes of a whole answer; bytes of an error body. */
const MESSAGE_LIMIT = 4 * 1024 * 1024
const ANSWER_LIMIT = 64 * 1024 * 1024
const REFUSAL_LIMIT = 64 * 1024
/** Milliseconds to wait for what may follow a complete answer (usage), and for the provider to end the body after its last word. */
const SETTLE = 3000
const CLOSE = 250

/** Turns the messages of one answer into events. Made anew for every call. */
export interface Decoder {
  /** Reads one message, puts what it means into `out`, answers whether it carried a token. Throws {@link ModelError}. */
  read(data: string, out: ModelEvent[]): boolean
  /** `open`; `answered` once the reason of the end is known; `closed` when the provider said its last word. */
  readonly state: 'open' | 'answered' | 'closed'
  /** The body ended: puts the last events into `out`, or throws when the answer was cut. */
  finish(out: ModelEvent[]): void
}

export interface Call {
  readonly fetch: Fetch
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** JSON; asked again after `adapt` answered true. */
  body(): string
  readonly decoder: Decoder
  readonly timeouts: Timeouts
  redact(text: string): string
  /** A refusal that another form of the same request may avoid: answers whether to ask again. */
  adapt?(error: ModelError): boolean
}

/** Streams the answer to `call`. Throws {@link ModelError} only. */
export async function* streamCall(call: Call, signal: AbortSignal): AsyncGenerator<ModelEvent, void, undefined> {
  const { decoder } = call
  using watch = createWatch(call.timeouts, signal)
  const out: ModelEvent[] = []
  let progress = false
  const parser = createParser({
    maxBufferSize: MESSAGE_LIMIT,
    onEvent: ({ data }) => {
      if (decoder.state !== 'closed' && decoder.read(data, out)) progress = true
    },
    onError: ({ type }) => {
      if (type === 'max-buffer-size-exceeded')
        throw new ModelError('malformed', `one message of the stream is longer than ${MESSAGE_LIMIT} characters`)
    },
  })
  try {
    const response = await open(call, watch.signal)
    try {
      if (response.headers['content-type']?.includes('json')) {
        // A server that doesn't stream answers as a whole.
        decoder.read(await response.text(), out)
      } else {
        const utf8 = new StringDecoder('utf8')
        let size = 0
        let state = decoder.state
        for await (const bytes of response.body) {
          size += bytes.length
          if (size > ANSWER_LIMIT) throw new ModelError('malformed', `the answer is longer than ${ANSWER_LIMIT} bytes`)
          parser.feed(utf8.write(bytes))
          if (out.length > 0) {
            watch.pause()
            for (const event of out) yield event
            out.length = 0
          }
          if (progress) watch.progress()
          progress = false
          if (decoder.state === state) continue
          state = decoder.state
          watch.settle(state === 'closed' ? CLOSE : SETTLE)
        }
      }
      watch.complete()
    } catch (error) {
      // Nothing that happens behind a complete answer takes it away.
      if (decoder.state === 'open' || signal.aborted) throw error
    }
    if (signal.aborted) throw new ModelError('cancelled', 'the call was cancelled')
    decoder.finish(out)
  } catch (error) {
    throw watch.explain(error)
  }
  yield* out
}

/** Asks until an answer streams: the provider's refusals become errors, unless the request can be put another way. */
async function open(call: Call, signal: AbortSignal): Promise<FetchResponse> {
  for (;;) {
    const { connect, total } = call.timeouts
    const response = await call.fetch(call.url, {
      method: 'POST',
      headers: call.headers,
      body: call.body(),
      signal,
      connectTimeout: connect,
      headersTimeout: total,
      bodyTimeout: total,
    })
    if (response.status === 200 && !response.headers['content-type']?.includes('html')) return response
    const refusal = readRefusal(await readText(response, REFUSAL_LIMIT))
    if (response.status === 200)
      throw new ModelError('malformed', `a web page came instead of an answer; check base_url (${call.redact(call.url)})`)
    const error = toModelError(refusal, call.redact, { status: response.status, headers: response.headers })
    if (!call.adapt?.(error)) throw error
  }
}

/** The beginning of a body as text; leaving the loop closes the connection when there is more. */
async function readText(response: FetchResponse, limit: number): Promise<string> {
  const utf8 = new StringDecoder('utf8')
  let text = ''
  for await (const bytes of response.body) {
    text += utf8.write(bytes)
    if (text.length > limit) break
  }
  return text
}

/** Adds text to the events of one read: what arrives together travels together. */
export function addText(out: ModelEvent[], type: 'text' | 'reasoning', text: string): void {
  const last = out.at(-1)
  if (last?.type === type) out[out.length - 1] = { type, text: last.text + text }
  else out.push({ type, text })
}
