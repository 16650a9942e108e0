import type { MessageView } from '@posthouse/contract/http'
import { expect, it } from 'vitest'
import type { OutgoingMessage } from './outgoing.ts'
import { showsLatest, type ThreadEntry, threadOf } from './thread.ts'

let seq = 0
function say(id: string, role: 'user' | 'assistant', more: Partial<MessageView> = {}): MessageView {
  seq += 1
  return { id, seq, conversation_id: 'c', role, text: id, status: 'complete', created_at: seq, files: [], ...more }
}

const ids = (entries: readonly ThreadEntry[]) =>
  entries.map((entry) => (entry.kind === 'message' ? entry.message.id : entry.outgoing.id)).join(' ')
const versionsOf = (entries: readonly ThreadEntry[], id: string) =>
  entries.find((entry) => entry.kind === 'message' && entry.message.id === id)?.versions

const talk = [
  say('A1', 'user', { replaced_by: 'C1' }),
  say('X1', 'assistant', { reply_to: 'A1' }),
  say('A2', 'user', { replaced_by: 'B2' }),
  say('X2', 'assistant', { reply_to: 'A2' }),
  say('B2', 'user'),
  say('X3', 'assistant', { reply_to: 'B2' }),
  say('C1', 'user'),
  say('X4', 'assistant', { reply_to: 'C1' }),
]

it('shows the latest version of everything', () => {
  const entries = threadOf(talk, [], {})
  expect(ids(entries)).toBe('C1 X4')
  expect(versionsOf(entries, 'C1')).toMatchObject({ ids: ['A1', 'C1'], shown: 1 })
  expect(showsLatest(entries)).toBe(true)
})

it('reaches every earlier version, also one within another', () => {
  const place = versionsOf(threadOf(talk, [], {}), 'C1')?.place ?? ''
  const entries = threadOf(talk, [], { [place]: 'A1' })
  expect(ids(entries)).toBe('A1 X1 B2 X3')
  expect(showsLatest(entries)).toBe(false)
  const inner = versionsOf(entries, 'B2')?.place ?? ''
  expect(ids(threadOf(talk, [], { [place]: 'A1', [inner]: 'A2' }))).toBe('A1 X1 A2 X2')
})

it('reads the same when all that followed is marked as replaced too', () => {
  const marked = talk.map((message) => (message.seq < 7 && !message.replaced_by ? { ...message, replaced_by: 'C1' } : message))
  expect(ids(threadOf(marked, [], {}))).toBe('C1 X4')
})

it('puts a late answer to the question that it belongs to', () => {
  const late = [
    say('Q1', 'user', { replaced_by: 'Q2' }),
    say('Q2', 'user'),
    say('late', 'assistant', { reply_to: 'Q1', status: 'stopped' }),
    say('new', 'assistant', { reply_to: 'Q2' }),
  ]
  expect(ids(threadOf(late, [], {}))).toBe('Q2 new')
  expect(ids(threadOf(late, [], { start: 'Q1' }))).toBe('Q1 late')
})

it('shows what waits, in the place of what it replaces', () => {
  const waiting = (id: string, replaces?: string): OutgoingMessage => ({
    id,
    conversation_id: 'c',
    text: id,
    files: [],
    created_at: 1,
    ...(replaces ? { replaces } : {}),
  })
  expect(ids(threadOf(talk, [waiting('w1'), waiting('w2')], {}))).toBe('C1 X4 w1 w2')
  expect(ids(threadOf(talk, [waiting('w1', 'C1')], {}))).toBe('w1')
})

it('gives each entry a key of its own; a message keeps the key that it waited under', () => {
  const own = say('S1', 'user', { client_id: 'mine' })
  const entries = threadOf([own, say('Y1', 'assistant', { reply_to: 'S1' }), say('Y2', 'assistant', { reply_to: 'S1' })], [], {})
  expect(entries.map(({ key }) => key)).toEqual(['mine', 'answer:S1', 'Y2'])
})
