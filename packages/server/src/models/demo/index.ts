/** The model that is there before a real one: no key, no network, no pretence. */
import { ModelError, type ModelEvent, type ModelProvider, type ModelRequest } from '@posthouse/contract'
import { refuseWishes } from '../wire/wishes.ts'
import { answer } from './answer.ts'

export interface DemoSettings {
  /** Words per second; 0: everything at once. */
  readonly pace?: number
}

const PACE = 30

export const demo: ModelProvider<DemoSettings> = {
  id: 'demo',
  settings: {
    fields: {
      pace: {
        type: 'number',
        minimum: 0,
        maximum: 10_000,
        default: PACE,
        description: { en: 'Words per second; 0 sends everything at once.', zh: '每秒词数；0 表示一次全部发出。' },
      },
    },
    required: [],
  },
  create: (settings, host) => ({
    id: host.id,
    vision: false,
    stream: (request, signal) => speak(request, settings.pace ?? PACE, signal),
  }),
}

async function* speak(request: ModelRequest, pace: number, signal: AbortSignal): AsyncGenerator<ModelEvent> {
  refuseWishes(request, 'demo', ['stop', 'toolChoice', 'responseFormat'])
  const text = answer(request)
  const words = wordsOf(text)
  const limit = request.maxTokens ?? Number.POSITIVE_INFINITY
  let said = 0
  for (const word of words) {
    if (said >= limit) break
    if (pace > 0) await pause(1000 / pace, signal)
    if (signal.aborted) throw new ModelError('cancelled', 'the call was cancelled')
    said += 1
    yield { type: 'text', text: word }
  }
  const inputTokens = request.messages.reduce((sum, message) => sum + wordsOf(textOf(message)).length, 0)
  yield { type: 'usage', usage: { inputTokens, outputTokens: said } }
  yield { type: 'end', reason: said < words.length ? 'length' : 'stop' }
}

/** The words of a text with the space behind them; of Chinese, a few characters at a time. Joined they are the text again. */
function wordsOf(text: string): readonly string[] {
  return text.match(/[\u3000-\u9fff\uff00-\uffef]{1,2}|[^\s\u3000-\u9fff\uff00-\uffef]+\s*|\s+/gu) ?? []
}

function textOf(message: ModelRequest['messages'][number]): string {
  return message.role === 'user' ? message.content.map((part) => (part.type === 'text' ? part.text : '')).join(' ') : message.text
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
    if (signal.aborted) done()
  })
}
