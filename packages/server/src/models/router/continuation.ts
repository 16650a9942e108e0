/** One answer out of two models: the second goes on where the first was cut, and what it says again is dropped. */
import type { ModelRequest } from '@posthouse/contract'

/** Shorter agreements are taken for chance. */
const LEAST = 8
/** How far back a repetition is looked for. */
const WINDOW = 4000

const instruction =
  'Your answer above was cut off by a technical fault. Continue exactly where it stopped: begin with the very next character ' +
  '(a space or line break too, if one is due), repeat nothing, do not mention the interruption, keep language and formatting. ' +
  '（上面的回答因技术故障中断。请从中断处的下一个字符继续，不要重复，也不要提及中断。）'

/** The request that asks for the rest of `partial`. */
export function continueRequest(request: ModelRequest, partial: string): ModelRequest {
  return {
    ...request,
    messages: [...request.messages, { role: 'assistant', text: partial }, { role: 'user', content: [{ type: 'text', text: instruction }] }],
  }
}

export interface Seam {
  /** Takes text of the continuation, answers what of it is new. Holds back only while it may still be a repetition. */
  push(text: string): string
  /** The continuation is over: answers what was held back and is new. */
  flush(): string
}

/**
 * Joins a continuation to `partial`. The longest beginning of it that is also the end of `partial` is dropped, if it has at least
 * 8 characters, or is the whole of a shorter `partial` (the model began anew).
 */
export function createSeam(partial: string): Seam {
  const least = Math.min(LEAST, partial.length)
  /** Places in `partial` from which on it agrees with all that was held back. */
  let candidates: number[] = []
  for (let start = Math.max(0, partial.length - WINDOW); start <= partial.length - least; start += 1) candidates.push(start)
  let held = ''
  let repeated = 0
  let decided = least === 0

  const release = () => {
    decided = true
    const fresh = held.slice(repeated)
    held = ''
    return fresh
  }
  return {
    push(text) {
      if (decided) return text
      for (let index = 0; index < text.length && !decided; index += 1) {
        const unit = text.charCodeAt(index)
        const at = held.length + index
        candidates = candidates.filter((start) => {
          if (partial.charCodeAt(start + at) !== unit) return false
          if (start + at + 1 < partial.length) return true
          // This place agreed up to the end. Places are in rising order, so a later find is a longer one.
          repeated = at + 1
          return false
        })
        if (candidates.length === 0) {
          held += text
          return release()
        }
      }
      held += text
      return ''
    },
    flush: () => (decided ? '' : release()),
  }
}
