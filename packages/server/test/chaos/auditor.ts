/**
 * The auditor: what was promised against what came about. It reads the ledgers of the emulated platform and of the tools, and what an
 * operator sees; never the gateway's own database. Pure.
 *
 * Each question has a number, and its answer consists of marks `m<number>p<part>`. Whatever carries them is that answer.
 */

/** Something that a person said, as the platform knows it. */
export interface Asked {
  readonly number: number
  readonly chat: number
  readonly update: number
  readonly text: string
  /** Marks that the whole answer has. */
  readonly parts: number
}

export interface Ledgers {
  readonly asked: readonly Asked[]
  /** Updates that the platform was told are taken. */
  readonly confirmed: ReadonlySet<number>
  /** What people see, in order; the text that stands there now. */
  readonly posted: readonly { readonly chat: number; readonly text: string }[]
  /** What each run of a tool that cannot be taken back was for. */
  readonly toolRuns: readonly string[]
  /** Texts of the dead letters, and of the answers that may have arrived twice, as the operator reads them. */
  readonly dead: readonly string[]
  readonly maybe: readonly string[]
  /** Those of the dead that came with a notice: it tells of nothing else. */
  readonly setAside?: readonly string[]
}

/** What came of a run. Of the lists, all but `strays` must be empty. */
export interface Findings {
  readonly asked: number
  readonly admitted: number
  readonly answered: number
  /** Ended with a notice in the chat. */
  readonly told: number
  readonly dead: number
  /** Admitted, and nobody ever heard of it again. */
  readonly lost: readonly string[]
  /** Answered more than once without a mark, or more than twice with one. */
  readonly doubled: readonly string[]
  /** Answered twice, and marked as possibly so. */
  readonly marked: number
  readonly outOfOrder: readonly string[]
  /** Run more than once, though that cannot be taken back. */
  readonly rerun: readonly string[]
  /** Previews that nobody will finish. */
  readonly strays: readonly string[]
}

/** Said once for whatever was too much. */
const FLOOD = /too much at once/

export function marksIn(text: string): readonly { readonly number: number; readonly part: number }[] {
  return [...text.matchAll(/\bm(\d+)p(\d+)\b/g)].map(([, number, part]) => ({ number: Number(number), part: Number(part) }))
}

/** A preview that was not finished ends with the sign of one. */
const isPreview = (text: string) => text.trimEnd().endsWith('…')

export function audit({ asked, confirmed, posted, toolRuns, dead, maybe, setAside = [] }: Ledgers): Findings {
  const lost: string[] = []
  const doubled: string[] = []
  const outOfOrder: string[] = []
  const strays = posted.filter(({ text }) => isPreview(text)).map(({ chat, text }) => `chat ${chat}: ${text.slice(0, 60)}`)
  const whole = posted.filter(({ text }) => !isPreview(text))
  const numbersIn = (texts: readonly string[]) => new Set(texts.flatMap((text) => marksIn(text).map(({ number }) => number)))
  const isDead = numbersIn(dead)
  const isMarked = numbersIn(maybe)
  const isSetAside = numbersIn(setAside)
  const admitted = asked.filter(({ update }) => confirmed.has(update))
  let answered = 0
  let told = 0
  let marked = 0
  for (const [chat, questions] of Map.groupBy(asked, (question) => question.chat)) {
    const here = whole.filter((message) => message.chat === chat).map(({ text }) => text)
    const notices = here.filter((text) => marksIn(text).length === 0)
    const taken = questions.filter(({ number }) => isSetAside.has(number)).length
    let left = notices.some((text) => FLOOD.test(text)) ? Number.POSITIVE_INFINITY : notices.length - taken
    let newest = -1
    for (const question of questions) {
      const places = Array.from({ length: question.parts }, (_, index) =>
        here.flatMap((text, place) =>
          marksIn(text).some(({ number, part }) => number === question.number && part === index + 1) ? [place] : [],
        ),
      )
      const times = Math.max(...places.map(({ length }) => length))
      const mayBeTwice = isMarked.has(question.number)
      if (times > (mayBeTwice ? 2 : 1)) doubled.push(`${question.text}: ${times} times${mayBeTwice ? ', marked' : ''}`)
      else if (times === 2) marked++
      if (places.every(({ length }) => length > 0)) {
        answered++
        const first = places[0]?.[0] ?? 0
        if (first < newest) outOfOrder.push(question.text)
        newest = Math.max(newest, first)
      } else if (!admitted.includes(question)) continue
      else if (isDead.has(question.number)) continue
      else if (left > 0) {
        left--
        told++
      } else lost.push(question.text)
    }
  }
  const rerun = [...Map.groupBy(toolRuns, (what) => what)].filter(([, runs]) => runs.length > 1).map(([what]) => what)
  const deadOnes = admitted.filter(({ number }) => isDead.has(number)).length
  return {
    asked: asked.length,
    admitted: admitted.length,
    answered,
    told,
    dead: deadOnes,
    lost,
    doubled,
    marked,
    outOfOrder,
    rerun,
    strays,
  }
}
