/** What two nodes on one database may count on, whatever database it is. */
import assert from 'node:assert/strict'
import { admit, answer, type Behaviour, others } from './store-scene.ts'

export const sharedBehaviours: readonly Behaviour[] = [
  {
    name: 'a reader that asks for what came after the last it saw misses nothing, while two nodes write',
    async run(harness) {
      const nodes = [harness.store, await harness.another()] as const
      const { conversationId: id } = await admit(harness.store)
      let writing = true
      const seen: string[] = []
      const reader = (async () => {
        for (let last = 0, more = true; more; ) {
          await others()
          more = writing
          const found = await harness.store.conversations.messages(id, { after: last }, 1000)
          seen.push(...found.map(({ id: message }) => message))
          last = found.at(-1)?.seq ?? last
        }
      })()
      const written = await Promise.all(
        nodes.map(async (store, node) => {
          const own: string[] = []
          for (let round = 0; round < 15; round++) {
            const recorded = await Promise.all([0, 1, 2].map(() => admit(store)))
            own.push(...recorded.map(({ messageId }) => messageId))
            const message = {
              id: harness.newId(),
              role: 'assistant',
              parts: [{ type: 'text', text: `${node}` }],
              status: 'complete',
            } as const
            own.push((await store.outbox.stage({ id, account: 'bot' }, message, undefined)).id)
          }
          return own
        }),
      )
      writing = false
      await reader
      assert.deepEqual(new Set(seen), new Set([...written.flat(), ...seen.slice(0, 1)]))
      assert.equal(seen.length, new Set(seen).size)
    },
  },
  {
    name: 'P4: two nodes that claim the same lanes answer each message once, in the order of admission',
    async run(harness) {
      const nodes = [harness.store, await harness.another()] as const
      const lanes = new Map<string, string[]>()
      for (let count = 0; count < 24; count++) {
        const { conversationId, messageId } = await admit(nodes[count % 2 === 0 ? 0 : 1], {
          place: { room: `r${count % 3}`, type: 'direct' },
        })
        lanes.set(conversationId, [...(lanes.get(conversationId) ?? []), messageId])
      }
      const answered = new Map<string, string[]>()
      await Promise.all(
        nodes.flatMap((store, node) =>
          [0, 1].map(async () => {
            while ((await store.inbox.depth()) > 0) {
              await others()
              for (const lane of lanes.keys()) {
                const turn = await store.turns.claim(lane, String(node), 1)
                if (!turn) continue
                answered.set(lane, [...(answered.get(lane) ?? []), ...turn.messages.map(({ id }) => id)])
                await store.turns.finish(String(node), answer(harness, turn))
              }
            }
          }),
        ),
      )
      assert.deepEqual(answered, lanes)
    },
  },
  {
    name: 'two nodes that begin the same conversation in the same moment begin one',
    async run(harness) {
      const nodes = [harness.store, await harness.another()] as const
      for (let count = 0; count < 10; count++) {
        const place = { room: `new ${count}`, type: 'direct' as const }
        const made = await Promise.all(nodes.map((store) => admit(store, { place })))
        assert.equal(made[0]?.conversationId, made[1]?.conversationId)
      }
      assert.equal((await harness.store.inbox.waitingLanes(100)).length, 10)
    },
  },
]
