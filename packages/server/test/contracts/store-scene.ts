/** What a behaviour of stores is, and what is said in them. */
import { type InboundMessage, priorities } from '@posthouse/contract'
import type { NewToolCall, Store, Turn, TurnResult } from '../../src/ports/store.ts'

/** A store under test. `reopen` closes it without a word, as a crash would, and opens the same data again. */
export interface StoreHarness {
  readonly store: Store
  readonly newId: () => string
  advance(ms: number): void
  reopen(): Promise<Store>
  /** A second node on the same data; it goes with the harness. */
  another(): Promise<Store>
}

export interface Behaviour {
  readonly name: string
  run(harness: StoreHarness): Promise<void>
}

/** SQLite answers at once: whoever only reads would let nobody else have a turn. */
export const others = () => new Promise<void>((resolve) => setImmediate(resolve))

let counter = 0
export function inbound(change: Partial<InboundMessage> = {}): InboundMessage {
  counter++
  return {
    kind: 'message',
    key: `key-${counter}`,
    id: String(counter),
    place: { room: 'room', type: 'direct' },
    author: { id: 'ann' },
    parts: [{ type: 'text', text: `question ${counter}` }],
    sentAt: 1_000_000,
    addressed: true,
    ...change,
  }
}

export const admit = (store: Store, change: Partial<InboundMessage> = {}) =>
  store.inbox.record({ account: 'bot', message: inbound(change), priority: priorities.interactive })

export const intent = (harness: StoreHarness, change: Partial<NewToolCall> = {}): NewToolCall => ({
  id: harness.newId(),
  step: 1,
  callId: 'call_1',
  name: 'book',
  arguments: '{"what":"train"}',
  ...change,
})

export const answer = (harness: StoreHarness, turn: Turn | undefined, text = 'answer', begun = false): TurnResult => {
  const messageId = harness.newId()
  return {
    turnId: turn?.id ?? '',
    lane: turn?.conversation.id ?? '',
    account: 'bot',
    outcome: 'replied',
    inbox: 'done',
    messages: [{ id: messageId, role: 'assistant', parts: [{ type: 'text', text }], status: 'complete' }],
    deliveries: [{ id: messageId, begun }],
  }
}
