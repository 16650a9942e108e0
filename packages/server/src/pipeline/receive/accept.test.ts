import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type InboundMessage, type Priority, priorities } from '@posthouse/contract'
import { type AcceptParts, createAccept } from './accept.ts'

const inGroup: InboundMessage = {
  kind: 'message',
  key: 'message:2',
  id: '2',
  place: { room: 'team', type: 'group' },
  author: { id: 'ann' },
  parts: [{ type: 'text', text: 'and coffee?' }],
  sentAt: 1,
  addressed: false,
}
const unused = () => assert.fail('nothing of this is needed')

/** Accepts what a channel hands over; `ours` are ids of what we sent. */
function createScene(ours: readonly string[] = [], waiting = 0) {
  const asked: string[] = []
  const recorded: string[] = []
  const parts: AcceptParts = {
    inbox: {
      record: async ({ message }) => {
        recorded.push(message.id)
        return { status: 'admitted', messageId: 'm', conversationId: 'c', stored: undefined }
      },
      waitingLanes: unused,
      depth: unused,
      oldestPending: unused,
      outcome: unused,
    },
    outbox: {
      isOurs: async (account, { room, thread = '' }, id) => {
        asked.push([account, room, thread, id].join(' '))
        return ours.includes(id)
      },
    },
    broker: { publish: () => {} } as never,
    depth: { total: waiting, of: () => 0 },
    limits: { waiting: 10, lane: 10 },
    observer: { admitted: () => {} } as never,
    clock: { elapsed: () => 0 } as never,
    stops: () => false,
    admitted: () => {},
  }
  const accept = createAccept(parts)
  const take = async (change: Partial<InboundMessage>) =>
    (await accept({ ...inGroup, ...change }, { account: 'bot', channel: 'dove' })).status
  const isFull = (priority?: Priority) =>
    accept({ ...inGroup, addressed: true }, { account: 'bot', channel: 'dove', ...(priority === undefined ? {} : { priority }) }).then(
      () => false,
      ({ code }: { code?: unknown }) => code === 'overloaded' || assert.fail(String(code)),
    )
  return { asked, recorded, take, isFull }
}

test('in a group an answer to what we sent is meant for us, also where only our receipts tell', async () => {
  const { asked, recorded, take } = createScene(['1'])
  assert.equal(await take({ replyTo: '1' }), 'admitted')
  assert.equal(await take({ replyTo: '0' }), 'ignored')
  assert.equal(await take({ place: { ...inGroup.place, thread: '1' } }), 'admitted', 'in the thread under one of ours')
  assert.equal(await take({ place: { ...inGroup.place, thread: '1' }, replyTo: '0' }), 'ignored', 'somebody else was answered there')
  assert.deepEqual(asked, ['bot team  1', 'bot team  0', 'bot team 1 1', 'bot team 1 0'])
  assert.equal(recorded.length, 2)
})

test('the receipts are looked into for nothing else', async () => {
  const { asked, take } = createScene(['1', '2'])
  const replyTo = '1'
  assert.equal(await take({}), 'ignored')
  assert.equal(await take({ place: { ...inGroup.place, thread: '2' } }), 'ignored', 'it opens a thread')
  assert.equal(await take({ replyTo, answersUs: false }), 'ignored', 'the platform told')
  assert.equal(await take({ replyTo, author: { id: 'bot', isBot: true } }), 'ignored')
  assert.equal(await take({ replyTo, kind: 'reaction' }), 'ignored')
  assert.equal(await take({ replyTo, addressed: true }), 'admitted')
  assert.deepEqual(asked, [])
})

test('P9: what waits in bulk leaves room for people: background fills half of the queue, normal three quarters', async () => {
  const { interactive, normal, background } = priorities
  for (const [waiting, ...full] of [
    [4, false, false, false, false],
    [5, true, false, false, false],
    [7, true, true, false, false],
    [9, true, true, false, false],
    [10, true, true, true, true],
  ] as const) {
    const { isFull } = createScene([], waiting)
    const found = [await isFull(background), await isFull(normal), await isFull(interactive), await isFull()]
    assert.deepEqual(found, full, String(waiting))
  }
})
