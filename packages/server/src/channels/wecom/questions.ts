/**
 * What people asked an AI bot that is called, and how far each answer is. Any node may be asked for it, and so may the next process: it stands
 * in the account's sealed state, and changes only from what it was.
 */
import { hash } from 'node:crypto'
import { type KeyValue, PosthouseError } from '@posthouse/contract'

export interface Question {
  /** Of its stream too. */
  readonly id: string
  /** When it came, epoch milliseconds. */
  readonly at: number
  /** Where it may be answered once; empty where the platform gave none. */
  readonly url: string
  /** The platform asks how far its answer is. */
  readonly streams: boolean
  /** When it last did, within a few seconds. */
  readonly polled: number
  /** A later one has its answer: nothing more comes of this one. */
  readonly closed?: boolean
  /** The piece for which `url` was used. */
  readonly spent?: string | undefined
}

/** `whole`: ready to be fetched. `fetched`: the platform was given it. `withdrawn`: it is not given it any more, so it may go another way. */
export type Growing =
  | { readonly phase: 'growing'; readonly text: string }
  | { readonly phase: 'whole' | 'fetched'; readonly text: string; readonly key: string }
  | { readonly phase: 'withdrawn' }

export interface Questions {
  /** Unless it is known. */
  note(room: string, question: Question): Promise<void>
  of(room: string): Promise<readonly Question[]>
  /** Changes what `step` answers, unless that is undefined; answers whether it did. */
  change(room: string, id: string, step: (question: Question) => Question | undefined): Promise<boolean>
  /** Nothing more comes of those before this one, nor of itself but what is whole. */
  closeUpTo(room: string, id: string): Promise<void>
  answer(id: string): Promise<Growing | undefined>
  /** The same for an answer; answers what stands then. */
  move(id: string, step: (answer: Growing | undefined) => Growing | undefined): Promise<Growing | undefined>
}

/** Of one room; the oldest are forgotten. */
const MOST = 32
/** Tries to change what others change too. */
const TRIES = 100

const digest = (text: string) => hash('sha256', text).slice(0, 32)

/** By the platform's id of what was said. */
export const questionId = digest

export function createQuestions(state: KeyValue): Questions {
  const roomKey = (room: string) => `~asked:${digest(room)}`
  const answerKey = (id: string) => `~answer:${id}`
  const listIn = (text: string | undefined) => JSON.parse(text ?? '[]') as readonly Question[]
  const answerIn = (text: string | undefined) => (text === undefined ? undefined : (JSON.parse(text) as Growing))

  /** Answers what `step` made of what stood there; undefined when that was to stay. */
  const swap = async <T>(key: string, step: (before: string | undefined) => T | undefined): Promise<T | undefined> => {
    for (let tries = 0; tries < TRIES; tries++) {
      const before = await state.get(key)
      const next = step(before)
      if (next === undefined || (await state.swap(key, before, JSON.stringify(next)))) return next
    }
    throw new PosthouseError('unavailable', 'what was asked is being changed by too many at once')
  }

  return {
    async note(room, question) {
      await swap(roomKey(room), (text) => {
        const known = listIn(text)
        return known.some(({ id }) => id === question.id) ? undefined : [...known, question].slice(-MOST)
      })
    },
    of: async (room) => listIn(await state.get(roomKey(room))),
    async change(room, id, step) {
      const changed = await swap(roomKey(room), (text) => {
        const known = listIn(text)
        const found = known.find((question) => question.id === id)
        const next = found && step(found)
        return next && known.map((question) => (question === found ? next : question))
      })
      return changed !== undefined
    },
    async closeUpTo(room, last) {
      await swap(roomKey(room), (text) => {
        const known = listIn(text)
        const end = known.findIndex(({ id }) => id === last)
        if (known.slice(0, end + 1).every(({ closed }) => closed)) return undefined
        return known.map((question, index) => (index <= end ? { ...question, closed: true } : question))
      })
    },
    answer: async (id) => answerIn(await state.get(answerKey(id))),
    async move(id, step) {
      let stands: Growing | undefined
      const moved = await swap(answerKey(id), (text) => {
        stands = answerIn(text)
        return step(stands)
      })
      return moved ?? stands
    },
  }
}
