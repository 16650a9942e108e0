/** The heart of a turn: the model's stream becomes the answer; the tools that it asks for are run in between. */
import { ModelError, type ModelEvent, type ModelFailure, type ModelMessage, type ToolCall, type Usage } from '@posthouse/contract'
import type { TurnResult } from '../../ports/store.ts'
import { buildRequest } from './context.ts'
import { type FetchedFile, fetchFiles } from './files.ts'
import { findKnown } from './known-answers.ts'
import { chosenModel } from './model-choice.ts'
import { noticeText } from './notices.ts'
import { openPreview, type Preview } from './preview.ts'
import { inWords, openToolDesk, shortened, type ToolDesk } from './tool-calls.ts'
import { type Interruption, LeftInDoubt, notice, result, type TurnWork } from './work.ts'

/** Times that a context which the model finds too long is halved. */
const SHORTENINGS = 3
/** Results of tools are kept shorter than this when the context is too long, in characters; each time it is a quarter of it. */
const LONGEST_RESULT = 64 * 1024
/** Answers of a turn that may ask for tools. Then the model is asked once more, without any. */
const MOST_STEPS = 8

interface Said {
  model: string
  usage: Usage | undefined
  /** How the last answer of the model ended. */
  end: Extract<ModelEvent, { type: 'end' }>['reason'] | undefined
}

const FROM_CACHE: Usage = { inputTokens: 0, outputTokens: 0, fromCache: true }

/** Asks the model. @throws when the turn must be given back (the process ends) or something unforeseen broke. */
export async function answer(work: TurnWork): Promise<TurnResult> {
  const { parts, turn, draft, language, signal } = work
  let problems: readonly FetchedFile[] = []
  const said: Said = { model: await chosenModel(parts, turn.conversation.id), usage: undefined, end: undefined }
  const preview = openPreview(work)
  const desk = openToolDesk(work)
  const whole = (...pieces: readonly string[]) => [...pieces, ...desk.notices()].filter((piece) => piece.trim() !== '').join('\n\n')
  try {
    problems = await fetchFiles(work)
    await desk.begin()
    await converse(work, problems, preview, said, desk)
  } catch (error) {
    const receipt = await preview.close()
    if (signal.aborted) {
      if ((signal.reason as Interruption) !== 'stop') {
        throw desk.notices().length > 0 ? new LeftInDoubt('the process ends', { cause: error }) : error
      }
      return result(work, 'stopped', { role: 'assistant', text: whole(draft.text), status: 'stopped', model: said.model, draft: receipt })
    }
    const failure = error instanceof Error && error.name === 'ModelError' ? (error as ModelError) : undefined
    if (!failure) throw error
    parts.log.error({ turn: turn.id, kind: failure.kind satisfies ModelFailure, detail: failure.message }, 'no model answered')
    return withDraft(notice(work, 'failed', 'failed', whole(noticeText('failed', language))), receipt)
  }
  const receipt = await preview.close()
  if (draft.text.trim() === '') return withDraft(notice(work, 'empty', 'failed', whole(noticeText('empty', language))), receipt)
  const text = whole(...problems.map(({ problem }) => problem), draft.text, ...(said.end === 'length' ? [noticeText('cut', language)] : []))
  return result(work, 'replied', { role: 'assistant', text, status: 'complete', model: said.model, usage: said.usage, draft: receipt })
}

/** Asks, runs the tools that the answer asks for, and asks again, until it asks for none. All that is said is one answer. */
async function converse(work: TurnWork, problems: readonly FetchedFile[], preview: Preview, said: Said, desk: ToolDesk): Promise<void> {
  const { model } = said
  using known = await findKnown(work, model)
  if (known?.text !== undefined) {
    // Shown at once, in one frame, when the preview closes.
    work.draft.text = known.text
    said.usage = FROM_CACHE
    return
  }
  const exchange: ModelMessage[] = []
  for (let step = 1; ; step++) {
    const last = step > MOST_STEPS
    const answered = await ask(work, { problems, exchange, last }, preview, said)
    // What another model said, or was cut short, is none for all.
    const { text, calls } = answered
    if (step === 1 && calls.length === 0 && said.end === 'stop' && said.model === model && text.trim() !== '') known?.keep(text)
    known?.[Symbol.dispose]()
    if (last || answered.calls.length === 0) return
    exchange.push(...(await desk.carryOut(answered, step)))
  }
}

interface Question {
  readonly problems: readonly FetchedFile[]
  /** Answers with calls, and the results, of this turn so far. */
  readonly exchange: readonly ModelMessage[]
  /** Whether the model must do without tools. */
  readonly last: boolean
}

/** One question to the model; answers what it said and the calls to carry out. */
async function ask(
  work: TurnWork,
  { problems, exchange, last }: Question,
  preview: Preview,
  said: Said,
): Promise<{ readonly text: string; readonly calls: readonly ToolCall[] }> {
  const { parts, signal, draft } = work
  const { declarations } = parts.tools
  const vision = parts.models.endpoints.find((endpoint) => endpoint.id === said.model)?.vision ?? false
  const before = said.usage
  const gap = draft.text.trim() === '' ? '' : '\n\n'
  let budget = parts.assistant.contextTokens
  for (let shortenings = 0; ; shortenings++) {
    const request = await buildRequest(work, problems, vision, budget)
    const steps = shortenings === 0 ? exchange : shortened(exchange, LONGEST_RESULT >> (2 * shortenings))
    const whole = {
      ...request,
      ...(exchange.length > 0 ? { messages: [...request.messages, ...(last ? inWords(steps) : steps)] } : {}),
      ...(last || declarations.length === 0 ? {} : { tools: declarations }),
    }
    const calls: ToolCall[] = []
    let text = ''
    let complete = false
    const asked = parts.clock.elapsed()
    try {
      for await (const event of parts.models.stream(whole, { primary: said.model, priority: work.turn.priority }, signal)) {
        work.timing.firstToken ??= parts.clock.elapsed() - asked
        if (event.type === 'text') {
          preview.push(text === '' ? gap + event.text : event.text)
          text += event.text
        } else if (event.type === 'tool-call') calls.push(event.call)
        else if (event.type === 'using') said.model = event.model
        else if (event.type === 'usage') said.usage = sum(before, event.usage)
        else if (event.type === 'end') {
          said.end = event.reason
          // A cut or refused answer may have cut its calls, too.
          complete = event.reason === 'tool-calls' || event.reason === 'stop'
        }
      }
      if (signal.aborted) throw new ModelError('cancelled', 'stopped')
      return { text, calls: complete ? calls : [] }
    } catch (error) {
      const tooLong = error instanceof Error && (error as ModelError).kind === 'too-long'
      if (!tooLong || shortenings >= SHORTENINGS || text !== '') throw error
      budget = Math.floor(budget / 2)
    } finally {
      work.timing.model += parts.clock.elapsed() - asked
    }
  }
}

/** What several steps used together. */
function sum(before: Usage | undefined, usage: Usage): Usage {
  if (!before) return usage
  const cached = (before.cachedTokens ?? 0) + (usage.cachedTokens ?? 0)
  return {
    inputTokens: before.inputTokens + usage.inputTokens,
    outputTokens: before.outputTokens + usage.outputTokens,
    ...(cached > 0 ? { cachedTokens: cached } : {}),
  }
}

function withDraft(ended: TurnResult, draft: Awaited<ReturnType<Preview['close']>>): TurnResult {
  return draft ? { ...ended, deliveries: ended.deliveries.map((delivery) => ({ ...delivery, draft })) } : ended
}
