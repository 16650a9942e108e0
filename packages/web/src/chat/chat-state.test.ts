import type { MessageView, ServerFrame } from '@posthouse/contract/http'
import { describe, expect, it } from 'vitest'
import {
  applyFrame,
  type Conversation,
  emptyConversation,
  keepable,
  withLatestPage,
  withOlderPage,
  withoutConnection,
} from './chat-state.ts'

const C = 'c1'

function message(seq: number, more: Partial<MessageView> = {}): MessageView {
  return {
    id: `m${seq}`,
    seq,
    conversation_id: C,
    role: seq % 2 === 1 ? 'user' : 'assistant',
    text: `text ${seq}`,
    status: 'complete',
    created_at: seq,
    files: [],
    ...more,
  }
}

const delta = (offset: number, text: string, turn_id = 't1'): ServerFrame => ({ type: 'delta', conversation_id: C, turn_id, offset, text })
const running = (id: string, draft?: string, answers = ['m1']): ServerFrame => ({
  type: 'turn',
  conversation_id: C,
  turn: { id, state: 'running', answers, ...(draft === undefined ? {} : { draft }) },
})
const synced = (turn?: { id: string; draft: string }): ServerFrame => ({
  type: 'synced',
  conversation_id: C,
  ...(turn ? { turn: { ...turn, state: 'running', answers: ['m1'] } } : {}),
})
const arrived = (seq: number, more: Partial<MessageView> = {}): ServerFrame => ({ type: 'message', message: message(seq, more) })

const play = (frames: readonly ServerFrame[], from: Conversation = emptyConversation(C)) => frames.reduce(applyFrame, from)

describe('messages', () => {
  it('stay unique and in order, whatever comes twice or late', () => {
    const state = play([arrived(3), arrived(1), arrived(2), arrived(3), arrived(1, { text: 'newer' })])
    expect(state.messages.map(({ seq }) => seq)).toEqual([1, 2, 3])
    expect(state.messages[0]?.text).toBe('newer')
    expect(state.resume).toBe(3)
  })

  it('of other conversations change nothing', () => {
    const state = emptyConversation(C)
    expect(applyFrame(state, arrived(1, { conversation_id: 'other' }))).toBe(state)
    expect(applyFrame(state, { ...delta(0, 'x'), conversation_id: 'other' } as ServerFrame)).toBe(state)
  })

  it('that were accepted may overtake others: the place to resume does not move past those', () => {
    const state = play([arrived(1), { type: 'accepted', id: 'x', message: message(5) }])
    expect(state.messages.map(({ seq }) => seq)).toEqual([1, 5])
    expect(state.resume).toBe(1)
  })
})

describe('a draft', () => {
  it('grows by deltas', () => {
    expect(play([synced(), running('t1', ''), delta(0, 'Hel'), delta(3, 'lo')]).turn?.draft).toBe('Hello')
  })

  it('takes a repeated or overlapping delta once', () => {
    const state = play([synced(), running('t1', ''), delta(0, 'Hello')])
    expect(applyFrame(state, delta(0, 'Hel'))).toBe(state)
    expect(applyFrame(state, delta(3, 'lo, you')).turn?.draft).toBe('Hello, you')
  })

  it('with a gap asks to subscribe again and takes nothing until then', () => {
    const torn = play([synced(), running('t1', ''), delta(0, 'He'), delta(5, '!')])
    expect(torn.torn).toBe(true)
    expect(torn.turn?.draft).toBe('He')
    expect(applyFrame(torn, delta(2, 'llo'))).toBe(torn)
    const mended = play([synced({ id: 't1', draft: 'Hello!' }), delta(6, '?')], torn)
    expect(mended).toMatchObject({ torn: false, turn: { draft: 'Hello!?' } })
  })

  it('of a turn that we know nothing of asks to subscribe again', () => {
    expect(play([synced(), delta(0, 'x', 'unknown')]).torn).toBe(true)
  })

  it('is dropped when the turn begins anew, with another id or with the same', () => {
    const state = play([synced(), running('t1', ''), delta(0, 'old words')])
    expect(applyFrame(state, running('t2', '')).turn).toMatchObject({ id: 't2', draft: '' })
    expect(applyFrame(state, running('t1', '')).turn).toMatchObject({ id: 't1', draft: '' })
    expect(applyFrame(state, running('t2')).turn).toMatchObject({ id: 't2', draft: '' })
  })

  it('gives way to its answer at once and to the end of its turn only', () => {
    const state = play([synced(), arrived(1), running('t1', ''), delta(0, 'words')])
    const answered = applyFrame(state, arrived(2, { reply_to: 'm1', text: 'words!' }))
    expect(answered.turn?.draft).toBe('')
    const ended = (id: string): ServerFrame => ({ type: 'turn', conversation_id: C, turn: { id, state: 'ended', answers: ['m1'] } })
    expect(applyFrame(answered, ended('earlier')).turn?.id).toBe('t1')
    expect(applyFrame(answered, ended('t1')).turn).toBeUndefined()
  })

  it('that ended while we were away is gone after the resume, its answer is there', () => {
    const state = withoutConnection(play([synced(), arrived(1), running('t1', ''), delta(0, 'half an ans')]))
    expect(state).toMatchObject({ synced: false, turn: { draft: 'half an ans' } })
    const back = play([arrived(2, { reply_to: 'm1', text: 'half an answer' }), synced()], state)
    expect(back.turn).toBeUndefined()
    expect(back.messages.map(({ text }) => text)).toEqual(['text 1', 'half an answer'])
  })

  it('ignores words that come before it is synced', () => {
    expect(play([delta(0, 'x')]).torn).toBe(false)
  })
})

describe('pages of history', () => {
  it('fill a conversation and tell where to resume', () => {
    const state = withLatestPage(emptyConversation(C), { conversation_id: C, messages: [message(8), message(9)], before: 8 })
    expect(state).toMatchObject({ resume: 9, before: 8, loaded: true })
    const older = withOlderPage(state, { conversation_id: C, messages: [message(6), message(7)] })
    expect(older.messages.map(({ seq }) => seq)).toEqual([6, 7, 8, 9])
    expect(older.before).toBeUndefined()
  })

  it('never hide a hole: a kept copy that lies too far back is let go, its messages are read again from the cursor', () => {
    const kept = { ...emptyConversation(C), messages: [message(1), message(2)], resume: 2, loaded: true }
    const page = { conversation_id: C, messages: [message(50), message(51)], before: 50 }
    const state = withLatestPage(kept, page)
    expect(state.messages.map(({ seq }) => seq)).toEqual([50, 51])
    expect(state).toMatchObject({ resume: 51, before: 50 })
    // The socket was faster, and sent only the latest of what was missed.
    const ahead = play([arrived(48), arrived(49), arrived(50), arrived(51), arrived(52)], kept)
    expect(withLatestPage(ahead, page, 2).messages.map(({ seq }) => seq)).toEqual([50, 51, 52])
  })

  it('that meet what is here keep it', () => {
    const kept = { ...emptyConversation(C), messages: [message(1), message(2)], resume: 2, before: 1, loaded: true }
    const state = withLatestPage(kept, { conversation_id: C, messages: [message(2), message(3)], before: 2 })
    expect(state.messages.map(({ seq }) => seq)).toEqual([1, 2, 3])
    expect(state.before).toBe(1)
  })

  it('tell what took the place of what', () => {
    const state = play([arrived(1), arrived(2)])
    const page = { conversation_id: C, messages: [message(1, { replaced_by: 'm3' }), message(2), message(3)] }
    expect(withLatestPage(state, page).messages[0]?.replaced_by).toBe('m3')
  })
})

it('keeps the latest messages, and the way to the earlier ones', () => {
  const state = play([1, 2, 3, 4].map((seq) => arrived(seq)))
  expect(keepable(state, 2)).toMatchObject({ resume: 4, before: 3 })
  expect(keepable(state, 9)).toMatchObject({ before: undefined })
})
