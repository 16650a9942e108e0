/** What every store knows of a conversation: its name, what was said in it, what became of it since, who answers in it. */
import assert from 'node:assert/strict'
import type { Place } from '@posthouse/contract'
import { StaleTurn, type Store, type StoredMessage, type TurnResult } from '../../src/ports/store.ts'
import { admit, answer, type Behaviour, inbound } from './store-scene.ts'

export const conversationBehaviours: readonly Behaviour[] = [
  {
    name: 'a place is called as it was called last, and an answer knows; what somebody named keeps its name',
    async run(harness) {
      const { store } = harness
      const called = (title?: string, some = {}) =>
        inbound({ ...some, place: { room: 'r', thread: 't', type: 'group', ...(title ? { title } : {}) } })
      const record = (title?: string, some = {}) => store.inbox.record({ account: 'bot', message: called(title, some), priority: 0 })
      const { conversationId } = await record('Plans', { key: 'first' })
      const titleNow = async () => (await store.conversations.find(conversationId))?.place.title
      await record()
      assert.equal(await titleNow(), 'Plans')
      await record('Plans, in May')
      assert.equal(await titleNow(), 'Plans, in May')
      assert.equal((await record('Plans', { key: 'first' })).status, 'duplicate')
      assert.equal(await titleNow(), 'Plans, in May', 'what comes once more is no news')
      const turn = await store.turns.claim(conversationId, 'n', 10)
      const place = { room: 'r', thread: 't', type: 'group', title: 'Plans, in May' }
      assert.deepEqual(turn?.conversation.place, place)
      await store.turns.finish('n', answer(harness, turn))
      const [delivery] = await store.outbox.adopt('n', conversationId)
      assert.deepEqual(delivery?.place, place)
      const own = { account: 'web', priority: 0 as const, owner: 'ann', conversationId: harness.newId() }
      const titled = (title: string) => inbound({ place: { room: own.conversationId, type: 'direct', title } })
      await store.inbox.record({ ...own, message: titled('first words') })
      await store.conversations.rename(own.conversationId, 'my trip')
      await store.inbox.record({ ...own, message: titled('other words') })
      assert.equal((await store.conversations.find(own.conversationId))?.place.title, 'my trip')
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
      const [said, repeated] = await Promise.all([1, 2].map(() => store.handovers.say(turn.conversation, here, draft)))
      assert.ok(said)
      assert.deepEqual(repeated, said, 'the same words twice')
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
]
