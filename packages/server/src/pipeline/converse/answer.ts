/** The heart of a turn: the model's stream becomes the answer. */
import { ModelError, type ModelFailure, type Usage } from '@posthouse/contract'
import type { TurnResult } from '../../ports/store.ts'
import { buildRequest } from './context.ts'
import { type FetchedFile, fetchFiles } from './files.ts'
import { chosenModel } from './model-choice.ts'
import { noticeText } from './notices.ts'
import { openPreview, type Preview } from './preview.ts'
import { notice, result, type TurnWork } from './work.ts'

/** Why a turn's signal fired. */
export type Interruption = 'stop' | 'shutdown'

/** Times that a context which the model finds too long is halved. */
const SHORTENINGS = 3

interface Said {
  model: string
  usage: Usage | undefined
  cut: boolean
}

/** Asks the model. @throws when the turn must be given back (the process ends) or something unforeseen broke. */
export async function answer(work: TurnWork): Promise<TurnResult> {
  const { parts, turn, draft, language, signal } = work
  let problems: readonly FetchedFile[] = []
  const said: Said = { model: await chosenModel(parts, turn.conversation.id), usage: undefined, cut: false }
  const preview = openPreview(work)
  try {
    problems = await fetchFiles(work)
    await stream(work, problems, preview, said)
  } catch (error) {
    const receipt = await preview.close()
    if (signal.aborted) {
      if ((signal.reason as Interruption) !== 'stop') throw error
      return result(work, 'stopped', { role: 'assistant', text: draft.text, status: 'stopped', model: said.model, draft: receipt })
    }
    const failure = error instanceof Error && error.name === 'ModelError' ? (error as ModelError) : undefined
    if (!failure) throw error
    parts.log.error({ turn: turn.id, kind: failure.kind satisfies ModelFailure, detail: failure.message }, 'no model answered')
    return withDraft(notice(work, 'failed', 'failed', noticeText('failed', language)), receipt)
  }
  const receipt = await preview.close()
  const text = [...problems.map(({ problem }) => problem), draft.text, ...(said.cut ? [noticeText('cut', language)] : [])]
    .filter((piece) => piece.trim() !== '')
    .join('\n\n')
  if (draft.text.trim() === '') return withDraft(notice(work, 'empty', 'failed', noticeText('empty', language)), receipt)
  return result(work, 'replied', { role: 'assistant', text, status: 'complete', model: said.model, usage: said.usage, draft: receipt })
}

async function stream(work: TurnWork, problems: readonly FetchedFile[], preview: Preview, said: Said): Promise<void> {
  const { parts, signal, draft } = work
  const vision = parts.models.endpoints.find((endpoint) => endpoint.id === said.model)?.vision ?? false
  let budget = parts.assistant.contextTokens
  for (let shortened = 0; ; shortened++) {
    const request = await buildRequest(work, problems, vision, budget)
    const asked = parts.clock.elapsed()
    try {
      for await (const event of parts.models.stream(request, { primary: said.model, priority: 'interactive' }, signal)) {
        work.timing.firstToken ??= parts.clock.elapsed() - asked
        if (event.type === 'text') preview.push(event.text)
        else if (event.type === 'using') said.model = event.model
        else if (event.type === 'usage') said.usage = event.usage
        else if (event.type === 'end') said.cut = event.reason === 'length'
      }
      if (signal.aborted) throw new ModelError('cancelled', 'stopped')
      return
    } catch (error) {
      const tooLong = error instanceof Error && (error as ModelError).kind === 'too-long'
      if (!tooLong || shortened >= SHORTENINGS || draft.text !== '') throw error
      budget = Math.floor(budget / 2)
    } finally {
      work.timing.model += parts.clock.elapsed() - asked
    }
  }
}

function withDraft(ended: TurnResult, draft: Awaited<ReturnType<Preview['close']>>): TurnResult {
  return draft ? { ...ended, deliveries: ended.deliveries.map((delivery) => ({ ...delivery, draft })) } : ended
}
