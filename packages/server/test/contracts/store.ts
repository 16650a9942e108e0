/** What every store must do, as data: run for each database. */
import assert from 'node:assert/strict'
import type { Place } from '@posthouse/contract'
import { priorities } from '../../src/ports/broker.ts'
import { StaleDelivery, StaleTurn, type Store, type StoredMessage, type Turn, type TurnResult } from '../../src/ports/store.ts'
import { keepingBehaviours } from './store-keeping.ts'
import { admit, answer, type Behaviour, inbound, intent } from './store-scene.ts'
import { sharedBehaviours } from './store-shared.ts'

const wayBehaviours: readonly Behaviour[] = [
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
    name: 'what was refused or set aside is marked for the context, until an operator lets it go again',
    async run(harness) {
      const { store } = harness
      const { conversationId, messageId } = await admit(store)
      const status = async () => (await store.conversations.message(messageId))?.status
      const revision = async () => (await store.conversations.find(conversationId))?.revision ?? 0
      const before = await revision()
      const turn = await store.turns.claim(conversationId, 'n', 10)
      await store.turns.finish('n', { ...answer(harness, turn), outcome: 'quarantined', inbox: 'dead' })
      assert.deepEqual([await status(), (await revision()) > before], ['failed', true])
      assert.ok(await store.dead.retry(messageId))
      assert.deepEqual([await status(), (await revision()) > before + 1], ['complete', true])
      const answered = await store.turns.claim(conversationId, 'n', 10)
      await store.turns.finish('n', answer(harness, answered))
      assert.equal(await status(), 'complete')
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
      await store.turns.finish('n', {
        turnId: other?.id ?? '',
        lane: other?.conversation.id ?? '',
        account: 'bot',
        outcome: 'stale',
        inbox: 'dead',
        messages: [],
        deliveries: [],
      })
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
    name: 'what was taken back is gone, and not answered if it waits',
    run: async ({ store }) => {
      const waiting = inbound()
      const { messageId, conversationId } = await admit(store, waiting)
      const takenBack = (of: typeof waiting, key: string) => ({ ...of, kind: 'delete' as const, key, parts: [] })
      const take = (of: typeof waiting, key: string) => store.inbox.record({ account: 'bot', message: takenBack(of, key), priority: 0 })
      assert.equal((await take(waiting, 'taken-1')).status, 'noted')
      assert.deepEqual((await store.conversations.message(messageId))?.body.parts, [])
      assert.deepEqual(await store.inbox.outcome(messageId), { state: 'done', outcome: 'withdrawn' })
      assert.equal(await store.inbox.depth(), 0)
      assert.equal(await store.turns.claim(conversationId, 'n', 1), undefined)
      assert.equal((await take(waiting, 'taken-1')).status, 'duplicate')
      // One that is being answered keeps its turn; its words are gone all the same.
      const asked = inbound({ id: 'asked' })
      const answered = await admit(store, asked)
      const turn = await store.turns.claim(conversationId, 'n', 1)
      assert.ok(turn)
      await take(asked, 'taken-2')
      assert.deepEqual((await store.conversations.message(answered.messageId))?.body.parts, [])
      assert.equal((await store.inbox.outcome(answered.messageId))?.outcome, undefined)
      assert.equal((await take(inbound({ id: 'never seen' }), 'taken-3')).status, 'noted')
    },
  },
  {
    name: 'a person takes over: the turn at work is stale, what was asked is theirs, what was promised stays back',
    async run(harness) {
      const { store } = harness
      const first = await admit(store)
      const { conversationId } = first
      const ended = await store.turns.claim(conversationId, 'n', 1)
      const promised = answer(harness, ended, 'late')
      await store.turns.finish('n', promised)
      const [asked, waiting] = [await admit(store), await admit(store)]
      const turn = await store.turns.claim(conversationId, 'n', 1)
      assert.ok(turn)
      const draft = { id: '7', room: 'room' }
      await store.turns.noteDraft(turn, draft)
      const words = (text: string) => ({
        id: harness.newId(),
        role: 'assistant' as const,
        parts: [{ type: 'text' as const, text }],
        status: 'complete' as const,
      })
      const here = words('I am here.')
      assert.deepEqual(await store.handovers.take(conversationId, 'eve'), draft)
      const said = await store.handovers.say(turn.conversation, here, draft)
      await assert.rejects(store.turns.finish('n', answer(harness, turn)), StaleTurn)
      assert.deepEqual((await store.turns.stopped([conversationId])).get(conversationId), said.seq)
      for (const { messageId } of [asked, waiting])
        assert.deepEqual(await store.inbox.outcome(messageId), { state: 'done', outcome: 'handed' })
      assert.deepEqual(
        (await store.dead.list(10)).map(({ id, reason }) => [id, reason]),
        [[promised.deliveries[0]?.id, 'handed']],
      )
      assert.deepEqual(
        (await store.outbox.adopt('n', conversationId)).map(({ text, draft: over }) => [text, over]),
        [['I am here.', draft]],
      )
      assert.deepEqual(
        (await store.handovers.list(10)).map(({ id, held }) => [id, held?.by]),
        [[conversationId, 'eve']],
      )
      // Another word, by somebody else: nothing more is thrown out for it.
      await admit(store)
      assert.equal((await store.handovers.inRoom('bot', 'room', 10)).length, 1)
      assert.equal(await store.handovers.take(conversationId, 'bob'), undefined)
      await store.handovers.say(turn.conversation, words('So am I.'), undefined)
      assert.equal((await store.turns.claim(conversationId, 'n', 1))?.conversation.held?.by, 'bob')
      assert.equal((await store.outbox.adopt('n', conversationId)).length, 2)
      assert.deepEqual([await store.handovers.giveBack(conversationId), await store.handovers.giveBack(conversationId)], [true, false])
      assert.deepEqual(await store.handovers.list(10), [])
    },
  },
  {
    name: 'an edit changes what was said and asks for no other answer',
    async run({ store }) {
      const original = inbound()
      const { conversationId, messageId } = await store.inbox.record({ account: 'bot', message: original, priority: 0 })
      const edited = { ...original, kind: 'edit' as const, key: 'edit-1', parts: [{ type: 'text' as const, text: 'corrected' }] }
      assert.equal((await store.inbox.record({ account: 'bot', message: edited, priority: 0 })).status, 'noted')
      assert.deepEqual((await store.conversations.message(messageId))?.body.parts, edited.parts)
      assert.equal(await store.inbox.depth(), 1, 'an edit waits for nothing')
      assert.equal((await store.turns.claim(conversationId, 'n', 10))?.messages.length, 1)
      assert.equal((await store.inbox.record({ account: 'bot', message: edited, priority: 0 })).status, 'duplicate')
    },
  },
  {
    name: 'an edit that names no thread, or another one, finds its message in the room, and in no other room or account',
    async run(harness) {
      const { store, advance } = harness
      const group = { room: 'team', type: 'group' as const }
      const texts = async (id: string) => (await store.conversations.message(id))?.body.parts
      const change = (kind: 'edit' | 'delete', id: string, place: Place, account = 'bot') =>
        store.inbox.record({ account, message: inbound({ kind, id, place, parts: [{ type: 'text', text: 'new' }] }), priority: 0 })
      const asked = await admit(store, { id: 'asked', place: { ...group, thread: 'tea' } })
      // Answered later, and yet what was said in them is older.
      for (let count = 0; count < 25; count++) {
        const { conversationId } = await admit(store, { place: { ...group, thread: `earlier ${count}` } })
        advance(1)
        await store.turns.finish('n', answer(harness, await store.turns.claim(conversationId, 'n', 1)))
      }
      const waiting = await admit(store, { id: 'waiting', place: { ...group, thread: 'tea' } })
      for (const wrong of [change('delete', 'waiting', { ...group, room: 'other' }), change('delete', 'waiting', group, 'another bot')]) {
        assert.equal((await wrong).stored, undefined)
        assert.notDeepEqual(await texts(waiting.messageId), [])
      }
      const edited = await change('edit', 'asked', { ...group, thread: 'coffee' })
      assert.deepEqual([edited.messageId, edited.conversationId], [asked.messageId, asked.conversationId])
      assert.deepEqual(await texts(asked.messageId), [{ type: 'text', text: 'new' }])
      const before = (await store.conversations.find(asked.conversationId))?.revision ?? 0
      await change('delete', 'waiting', group)
      assert.deepEqual(await texts(waiting.messageId), [])
      assert.equal((await store.inbox.outcome(waiting.messageId))?.outcome, 'withdrawn')
      assert.ok(((await store.conversations.find(asked.conversationId))?.revision ?? 0) > before, 'what is kept of it is void')
    },
  },
  {
    name: 'what we sent is known by its receipts and its draft: in its room, in its thread or outside of any',
    async run(harness) {
      const { store } = harness
      const say = async (place: Place, receipts: readonly string[], draft?: string) => {
        const { conversationId } = await admit(store, { place })
        const result = answer(harness, await store.turns.claim(conversationId, 'n', 1), 'long', true)
        const deliveries = result.deliveries.map((each) => ({ ...each, ...(draft ? { draft: { id: draft, room: place.room } } : {}) }))
        await store.turns.finish('n', { ...result, deliveries })
        const [{ id } = { id: '' }] = result.deliveries
        for (const receipt of receipts) await store.outbox.confirm('n', id, { id: receipt, room: place.room }, receipt === receipts.at(-1))
      }
      const room: Place = { room: 'team', type: 'group' }
      const topic: Place = { ...room, thread: 'tea' }
      await say(room, ['p1', 'p2/card/9'])
      await say(topic, ['in topic'], 'its draft/card')
      await say(topic, [], 'draft only')
      const ours = (place: Place, id: string, account = 'bot') => store.outbox.isOurs(account, place, id)
      for (const id of ['p1', 'p2', 'p2/card/9']) {
        assert.equal(await ours(room, id), true, id)
        assert.equal(await ours(topic, id), true, `${id}, answered in a topic`)
      }
      for (const id of ['in topic', 'its draft', 'draft only']) assert.equal(await ours(topic, id), true, id)
      for (const id of ['p', 'p11', 'team', '']) assert.equal(await ours(room, id), false, id)
      assert.equal(await ours({ room: 'other', type: 'group' }, 'p1'), false)
      assert.equal(await ours(room, 'p1', 'another bot'), false)
      assert.equal(await ours({ ...room, thread: 'unknown' }, 'in topic'), false)
    },
  },
  {
    name: 'a message that replaces another takes it and all that followed out of the context',
    async run(harness) {
      const { store } = harness
      const first = await admit(store)
      const turn = await store.turns.claim(first.conversationId, 'n', 1)
      await store.turns.finish('n', answer(harness, turn))
      const second = await admit(store, { replaces: first.messageId })
      const conversation = await store.conversations.find(first.conversationId)
      assert.ok(conversation)
      const seen = await store.conversations.context(conversation, Number.MAX_SAFE_INTEGER, 10)
      assert.deepEqual(
        seen.map(({ id }) => id),
        [second.messageId],
      )
      const all = await store.conversations.messages(first.conversationId, {}, 10)
      assert.deepEqual(
        all.map((message) => message.replacedBy),
        [second.messageId, second.messageId, undefined],
      )
    },
  },
  {
    name: 'the context is what the conversation holds, whoever changed it last, on whichever node',
    async run(harness) {
      const nodes = [harness.store, await harness.another()] as const
      const { conversationId: id } = await admit(harness.store)
      const steps = [
        'turn turn say turn burst turn turn other turn aside turn refused turn edit turn other turn other again turn replace turn forget turn',
        'flood turn turn turn turn turn turn release turn burst other turn turn quarantine retry turn turn aside other turn turn',
      ]
      let edited = inbound()
      for (const [number, step] of steps.join(' ').split(' ').entries()) {
        const [store, node] = step === 'other' ? [nodes[1], 'b'] : [nodes[0], 'a']
        const finish = async (change: Partial<TurnResult> = {}) => {
          const turn = await store.turns.claim(id, node, 1)
          if (!turn) return
          for (const each of nodes) await agrees(each, turn.messages[0]?.seq ?? 0)
          const result = answer(harness, turn, `answer ${number}`)
          const said = change.outcome ? { messages: [], deliveries: [] } : {}
          await store.turns.finish(node, { ...result, ...said, ...change })
        }
        if (step === 'turn' || step === 'other') {
          await admit(store)
          await finish()
        } else if (step === 'again') await finish()
        else if (step === 'say') await admit(store)
        else if (step === 'burst') await Promise.all([admit(store), admit(store), admit(store)])
        else if (step === 'flood') for (let count = 0; count < 40; count++) await admit(store).then(() => finish())
        else if (step === 'aside') {
          const message = { id: harness.newId(), role: 'assistant', parts: [{ type: 'text', text: 'aside' }], status: 'complete' } as const
          await store.outbox.stage({ id, account: 'bot' }, message, undefined)
        } else if (step === 'refused') await finish({ outcome: 'refused' })
        else if (step === 'forget') await finish({ outcome: 'command', forget: true })
        else if (step === 'quarantine') await finish({ outcome: 'quarantined', inbox: 'dead' })
        else if (step === 'retry') for (const letter of await store.dead.list(10)) await store.dead.retry(letter.id)
        else if (step === 'release') {
          const turn = await store.turns.claim(id, node, 1)
          if (turn) await store.turns.release(node, turn, true)
        } else if (step === 'edit') {
          await store.inbox.record({ account: 'bot', message: edited, priority: 0 })
          await store.inbox.record({
            account: 'bot',
            message: { ...edited, kind: 'edit', key: 'edit', parts: [{ type: 'text', text: 'corrected' }] },
            priority: 0,
          })
        } else if (step === 'replace') {
          const [last] = (await store.conversations.messages(id, {}, 50)).filter(({ role }) => role === 'user').slice(-2)
          edited = inbound({ replaces: last?.id ?? '' })
          await store.inbox.record({ account: 'bot', message: edited, priority: 0 })
        } else assert.fail(step)
      }

      async function agrees(store: Store, before: number): Promise<void> {
        const conversation = await store.conversations.find(id)
        assert.ok(conversation)
        const visible = (await store.conversations.messages(id, {}, 1000))
          .filter(({ seq, replacedBy }) => seq > conversation.contextFrom && replacedBy === undefined)
          .filter(({ role, seq, status }) => role !== 'user' || (status !== 'failed' && seq < before))
        const text = ({ body }: StoredMessage) => JSON.stringify(body.parts)
        const context = await store.conversations.context(conversation, before, 40)
        assert.deepEqual(context.map(text), visible.slice(-40).toReversed().map(text))
      }
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

export const storeBehaviours: readonly Behaviour[] = [...wayBehaviours, ...keepingBehaviours, ...sharedBehaviours]
