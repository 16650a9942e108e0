/** What every store does on a message's way: admitted, claimed, answered, delivered (P2 to P7). */
import assert from 'node:assert/strict'
import { type Priority, priorities } from '@posthouse/contract'
import { StaleDelivery, StaleTurn, type Turn } from '../../src/ports/store.ts'
import { admit, answer, type Behaviour, inbound, intent } from './store-scene.ts'

export const wayBehaviours: readonly Behaviour[] = [
  {
    name: 'P2: a key is admitted once, also when it comes many times at once',
    async run({ store }) {
      const results = await Promise.all(Array.from({ length: 5 }, () => admit(store, { key: 'same' })))
      assert.equal(results.filter((result) => result.status === 'admitted').length, 1)
      assert.equal(new Set(results.map((result) => result.messageId)).size, 1)
      assert.equal((await store.conversations.messages(results[0]?.conversationId ?? '', {}, 10)).length, 1)
    },
  },
  {
    name: 'P2: the same key on another account is another message',
    async run({ store }) {
      const message = inbound()
      const first = await store.inbox.record({ account: 'one', message, priority: 0 })
      const second = await store.inbox.record({ account: 'two', message, priority: 0 })
      assert.deepEqual([first.status, second.status], ['admitted', 'admitted'])
      assert.notEqual(first.conversationId, second.conversationId)
    },
  },
  {
    name: 'P4: one running turn per lane, messages in the order of admission',
    async run(harness) {
      const { store } = harness
      const first = await admit(store)
      const second = await admit(store)
      const lane = first.conversationId
      const [a, b] = await Promise.all([store.turns.claim(lane, 'n', 1), store.turns.claim(lane, 'n', 1)])
      const turn = a ?? b
      assert.ok(turn && !(a && b), 'exactly one claim wins')
      assert.equal(turn.messages[0]?.id, first.messageId)
      await store.turns.finish('n', answer(harness, turn))
      const next = await store.turns.claim(lane, 'n', 1)
      assert.equal(next?.messages[0]?.id, second.messageId)
    },
  },
  {
    name: 'P4: a burst is coalesced in order; a command goes alone',
    async run(harness) {
      const { store } = harness
      const { conversationId } = await admit(store)
      await admit(store)
      await admit(store, { command: { name: 'help', argument: '' } })
      await admit(store)
      const sizes = []
      for (let turn = await store.turns.claim(conversationId, 'n', 10); turn; turn = await store.turns.claim(conversationId, 'n', 10)) {
        sizes.push(turn.messages.length)
        await store.turns.finish('n', answer(harness, turn))
      }
      assert.deepEqual(sizes, [2, 1, 1])
    },
  },
  {
    name: 'a burst of several people is claimed person by person',
    async run(harness) {
      const { store } = harness
      const { conversationId } = await admit(store)
      for (const id of ['ann', 'bob', 'ann']) await admit(store, { author: { id } })
      const authors = []
      for (let turn = await store.turns.claim(conversationId, 'n', 10); turn; turn = await store.turns.claim(conversationId, 'n', 10)) {
        authors.push(turn.messages.map(({ body }) => body.author?.id).join(' '))
        await store.turns.finish('n', answer(harness, turn))
      }
      assert.deepEqual(authors, ['ann ann', 'bob', 'ann'])
    },
  },
  {
    name: 'lanes are found in the order of their classes, and a turn has the most urgent of what waits in its lane',
    async run({ store }) {
      const { interactive, normal, background } = priorities
      const record = async (room: string, priority: Priority) =>
        (await store.inbox.record({ account: 'bot', message: inbound({ place: { room, type: 'direct' } }), priority })).conversationId
      const [slow, mail] = [await record('slow', background), await record('mail', normal)]
      const mixed = await record('mixed', background)
      const chat = await record('chat', interactive)
      await record('mixed', interactive)
      const found = await store.inbox.waitingLanes(10)
      assert.deepEqual(
        found.map(({ lane, priority }) => [lane, priority]),
        [
          [mixed, interactive],
          [chat, interactive],
          [mail, normal],
          [slow, background],
        ],
      )
      assert.deepEqual(
        (await store.inbox.waitingLanes(2)).map(({ lane }) => lane),
        [mixed, chat],
      )
      assert.deepEqual([...(await store.inbox.oldestPending()).keys()].toSorted(), [interactive, normal, background])
      const classOf = async (lane: string) => (await store.turns.claim(lane, 'n', 1))?.priority
      assert.deepEqual(await Promise.all([mixed, chat, mail, slow].map(classOf)), [interactive, interactive, normal, background])
      assert.deepEqual([...(await store.inbox.oldestPending()).keys()], [interactive], 'what waits behind a turn')
    },
  },
  {
    name: 'a stop holds for what was asked before it, on every node and after a crash, until an operator lets it go again',
    async run(harness) {
      const { store } = harness
      const there = await harness.another()
      const { conversationId: lane } = await admit(store)
      assert.deepEqual(await there.turns.stopped([lane, 'none']), new Map())
      assert.deepEqual(await there.turns.stopped([]), new Map())
      await there.turns.stop(lane)
      assert.equal((await there.turns.stopped([lane])).size, 0, 'nothing is at work')
      const first = await store.turns.claim(lane, 'n', 1)
      const waiting = await admit(there)
      await there.turns.stop(lane)
      const seqOf = (turn: Turn | undefined) => turn?.messages[0]?.seq ?? 0
      const stoppedBefore = async () => (await store.turns.stopped([lane])).get(lane) ?? 0
      assert.ok(seqOf(first) < (await stoppedBefore()), 'what is at work is stopped')
      assert.ok((waiting.stored?.seq ?? 0) >= (await stoppedBefore()), 'what waits behind it is not')
      const command = await there.inbox.record({
        account: 'bot',
        message: inbound({ command: { name: 'stop', argument: '' } }),
        priority: priorities.interactive,
        stops: true,
      })
      assert.equal(await stoppedBefore(), command.stored?.seq)
      await store.turns.finish('n', { ...answer(harness, first), inbox: 'dead', outcome: 'stale', messages: [], deliveries: [] })
      const again = await harness.reopen()
      const second = await again.turns.claim(lane, 'n', 1)
      assert.equal(second?.messages[0]?.id, waiting.messageId)
      assert.ok(seqOf(second) < (second?.conversation.stoppedBefore ?? 0), 'who claims it sees it')
      assert.equal(await again.dead.retry(first?.messages[0]?.id ?? ''), true)
      assert.equal((await again.turns.stopped([lane])).size, 0)
    },
  },
  {
    name: 'P6: the end of a turn is one commit: answer, inbox and outbox, or nothing of it',
    async run(harness) {
      const { store } = harness
      const { conversationId, messageId } = await admit(store)
      const turn = await store.turns.claim(conversationId, 'n', 1)
      assert.ok(turn)
      const result = answer(harness, turn)
      const twice = { ...result, deliveries: [...result.deliveries, ...result.deliveries] }
      await assert.rejects(store.turns.finish('n', twice))
      assert.equal((await store.inbox.outcome(messageId))?.state, 'claimed')
      assert.equal((await store.conversations.messages(conversationId, {}, 10)).length, 1)
      await store.turns.finish('n', result)
      assert.deepEqual(await store.inbox.outcome(messageId), { state: 'done', outcome: 'replied' })
      assert.equal((await store.outbox.due('n', Number.MAX_SAFE_INTEGER, 0, 10)).length, 1)
    },
  },
  {
    name: 'P7: a turn that was taken away cannot end any more',
    async run(harness) {
      const { store } = harness
      const { conversationId } = await admit(store)
      const old = await store.turns.claim(conversationId, 'old', 1)
      assert.ok(old)
      assert.equal(await store.turns.recover(), 1)
      const turn = await store.turns.claim(conversationId, 'new', 1)
      assert.equal(turn?.messages[0]?.attempts, 2)
      await assert.rejects(store.turns.finish('old', answer(harness, old)), StaleTurn)
      await store.turns.finish('new', answer(harness, turn))
      assert.equal((await store.conversations.messages(conversationId, {}, 10)).length, 2)
    },
  },
  {
    name: 'P3: what was admitted and not answered is there again after a crash',
    async run(harness) {
      const { conversationId } = await admit(harness.store)
      await admit(harness.store, { place: { room: 'other', type: 'group' } })
      await harness.store.turns.claim(conversationId, 'dead', 1)
      const store = await harness.reopen()
      assert.equal(await store.turns.recover(), 1)
      assert.equal((await store.inbox.waitingLanes(10)).length, 2)
      assert.equal(await store.inbox.depth(), 2)
    },
  },
  {
    name: 'a message that was in a broken turn is claimed alone',
    async run({ store }) {
      const { conversationId } = await admit(store)
      await admit(store)
      const first = await store.turns.claim(conversationId, 'n', 10)
      assert.equal(first?.messages.length, 2)
      await store.turns.release('n', first as Turn, true)
      const second = await store.turns.claim(conversationId, 'n', 10)
      assert.equal(second?.messages.length, 1)
      assert.equal(second?.messages[0]?.attempts, 2)
    },
  },
  {
    name: 'a release that is not counted leaves no trace in the attempts; a draft is handed on',
    async run({ store }) {
      const { conversationId } = await admit(store)
      const first = await store.turns.claim(conversationId, 'n', 1)
      await store.turns.noteDraft(first as Turn, { id: '77', room: 'room' })
      await store.turns.release('n', first as Turn, false)
      const second = await store.turns.claim(conversationId, 'n', 1)
      assert.equal(second?.messages[0]?.attempts, 1)
      assert.deepEqual(second?.draft, { id: '77', room: 'room' })
    },
  },
  {
    name: 'P5: a call is found by a later turn for any of its messages: with its result, or as unknown unless it may be repeated',
    async run(harness) {
      const { conversationId } = await admit(harness.store)
      await admit(harness.store)
      const both = (await harness.store.turns.claim(conversationId, 'n', 10)) as Turn
      assert.equal(both.messages.length, 2)
      const [done, lost, harmless] = [intent(harness), intent(harness, { step: 2 }), intent(harness, { step: 2, name: 'look' })]
      for (const call of [done, lost, harmless]) await harness.store.toolCalls.intend(both, call)
      await harness.store.toolCalls.settle(both, done.id, 'done', 'booked')
      const store = await harness.reopen()
      await store.turns.recover()
      const repeatable = (name: string) => name === 'look'
      const expected = [
        { ...done, state: 'done', result: 'booked' },
        { ...lost, state: 'unknown', result: 'lost' },
        { ...harmless, state: 'intended', result: undefined },
      ]
      for (const end of [1, 2]) {
        // The first of them alone, then the second: what was done for both is known to each.
        const turn = (await store.turns.claim(conversationId, 'n', 10)) as Turn
        assert.equal(turn.messages.length, 1)
        assert.deepEqual(await store.toolCalls.takeOver(turn, repeatable, 'lost'), expected, `turn ${end}`)
        await store.turns.finish('n', answer(harness, turn))
      }
      await admit(store)
      const other = (await store.turns.claim(conversationId, 'n', 10)) as Turn
      assert.deepEqual(await store.toolCalls.takeOver(other, repeatable, 'lost'), [], 'another message has nothing to do with it')
    },
  },
  {
    name: 'P5, P7: a turn that was taken away writes neither intents nor results',
    async run(harness) {
      const { store } = harness
      const { conversationId } = await admit(store)
      const old = (await store.turns.claim(conversationId, 'old', 1)) as Turn
      const call = intent(harness)
      await store.toolCalls.intend(old, call)
      await store.turns.recover()
      const turn = (await store.turns.claim(conversationId, 'new', 1)) as Turn
      await assert.rejects(store.toolCalls.intend(old, intent(harness)), StaleTurn)
      assert.deepEqual(await store.toolCalls.takeOver(turn, () => true, 'lost'), [{ ...call, state: 'intended', result: undefined }])
      await assert.rejects(store.toolCalls.settle(old, call.id, 'done', 'too late'), StaleTurn)
      await store.toolCalls.settle(turn, call.id, 'done', 'in time')
      await assert.rejects(store.toolCalls.settle(turn, call.id, 'failed', 'twice'), StaleTurn)
    },
  },
  {
    name: 'calls go with their conversation, and with their time when nothing waits for them',
    async run(harness) {
      const { store, advance } = harness
      const far = 40 * 86_400_000
      const { conversationId } = await admit(store)
      const turn = (await store.turns.claim(conversationId, 'n', 1)) as Turn
      const call = intent(harness)
      await store.toolCalls.intend(turn, call)
      const left = async () => (await store.toolCalls.takeOver(turn, () => true, 'lost')).length
      advance(far)
      await store.prune(1_000_000 + far)
      assert.equal(await left(), 1, 'its message has no outcome yet')
      await store.turns.release('n', turn, true)
      const again = (await store.turns.claim(conversationId, 'n', 1)) as Turn
      await store.turns.finish('n', answer(harness, again))
      await store.prune(1_000_000 + far)
      assert.equal(await left(), 0)
      await admit(store)
      const next = (await store.turns.claim(conversationId, 'n', 1)) as Turn
      await store.toolCalls.intend(next, intent(harness))
      await store.conversations.remove(conversationId)
      assert.deepEqual(await store.toolCalls.takeOver(next, () => true, 'lost'), [])
    },
  },
  {
    name: 'P6: a delivery walks piece by piece; an ambiguous attempt marks the message',
    async run(harness) {
      const { store } = harness
      const { conversationId } = await admit(store)
      const turn = await store.turns.claim(conversationId, 'n', 1)
      const { messages } = await store.turns.finish('n', answer(harness, turn, 'long', true))
      const [message] = messages
      const entry = async () => (await store.outbox.adopt('n', conversationId))[0]
      const id = (await entry())?.id ?? ''
      assert.deepEqual([(await entry())?.state, (await entry())?.attempts], ['sending', 1])
      await store.outbox.confirm('n', id, { id: 'p1', room: 'room' }, false)
      assert.deepEqual([(await entry())?.confirmed, (await entry())?.attempts], [1, 0])
      await store.outbox.begin('n', id)
      await store.outbox.retry('n', id, { failure: 'unknown', detail: 'the line went dead', nextAt: 5, ambiguous: true })
      assert.deepEqual([(await entry())?.state, (await entry())?.unknowns, (await entry())?.nextAt], ['pending', 1, 5])
      assert.equal((await store.conversations.message(message?.id ?? ''))?.maybeDuplicate, true)
      const [listed] = await store.outbox.listMaybeDuplicates(10)
      assert.deepEqual([listed?.id, listed?.text, listed?.account, listed?.room], [message?.id, 'long', 'bot', 'room'])
      await store.outbox.begin('n', id)
      await store.outbox.confirm('n', id, { id: 'p2', room: 'room' }, true)
      assert.equal(await entry(), undefined)
      const late = store.outbox.retry('n', id, { failure: 'transient', detail: 'too late', nextAt: 5, ambiguous: false })
      await assert.rejects(late, StaleDelivery)
      assert.equal(await entry(), undefined, 'a sent delivery never moves again')
    },
  },
  {
    name: 'dead letters are listed, let go again with a fresh age, or dropped',
    async run(harness) {
      const { store } = harness
      const { conversationId } = await admit(store)
      const turn = await store.turns.claim(conversationId, 'n', 1)
      await store.turns.finish('n', answer(harness, turn, 'refused', true))
      const id = (await store.outbox.due('n', Number.MAX_SAFE_INTEGER, 0, 1))[0]?.id ?? ''
      await store.outbox.bury('n', id, 'permission', 'kicked out')
      const second = await admit(store)
      const other = await store.turns.claim(conversationId, 'n', 1)
      await store.turns.finish('n', { ...answer(harness, other), inbox: 'dead', outcome: 'stale', messages: [], deliveries: [] })
      assert.equal(await store.dead.count(), 2)
      const letters = await store.dead.list(10)
      assert.deepEqual(new Set(letters.map((letter) => letter.reason)), new Set(['permission', 'stale']))
      assert.equal(letters.find((letter) => letter.kind === 'delivery')?.detail, 'kicked out')
      assert.equal(await store.dead.retry(id), true)
      assert.ok((await store.outbox.adopt('n', conversationId))[0]?.releasedAt)
      assert.equal(await store.dead.drop(second.messageId), true)
      assert.equal(await store.dead.drop(second.messageId), false)
      assert.equal(await store.dead.count(), 0)
    },
  },
  {
    name: 'P2: a key or a room with a NUL is one key and one room, and a time with a fraction is a time',
    async run({ store }) {
      const odd = { key: 'a\0b', place: { room: 'r\0', type: 'direct' as const }, sentAt: 1_000_000.5 }
      const first = await admit(store, odd)
      const second = await admit(store, odd)
      assert.deepEqual([first.status, second.status], ['admitted', 'duplicate'])
      assert.equal(second.conversationId, first.conversationId)
      const turn = await store.turns.claim(first.conversationId, 'n', 1)
      assert.equal(turn?.messages[0]?.sentAt, 1_000_001)
    },
  },
]
