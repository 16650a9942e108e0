import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { newId } from '../../src/base/ids.ts'
import type { Store } from '../../src/ports/store.ts'
import { loadKey } from '../../src/security/key.ts'
import { createSealer } from '../../src/security/sealer.ts'
import { openStore } from '../../src/storage/index.ts'
import { inbound, type StoreHarness, storeBehaviours } from './store.ts'

async function withStore(work: (harness: StoreHarness, folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'posthouse-store-'))
  let now = 1_000_000
  const clock: Clock = { ...systemClock, now: () => now }
  const sealer = createSealer(loadKey(join(folder, 'posthouse.key'), false))
  const open = () => openStore({ path: join(folder, 'data', 'posthouse.db'), sealer, clock, newId })
  let store = await open()
  const others: Store[] = []
  try {
    await work(
      {
        store,
        newId,
        advance: (ms) => {
          now += ms
        },
        async reopen() {
          await store[Symbol.asyncDispose]()
          store = await open()
          return store
        },
        async another() {
          const other = await open()
          others.push(other)
          return other
        },
      },
      folder,
    )
  } finally {
    for (const each of [store, ...others]) await each[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  }
}

describe('store on SQLite', () => {
  for (const { name, run } of storeBehaviours) it(name, () => withStore(run))

  it('P12: nothing that was said is readable in the files', () =>
    withStore(async ({ store }, folder) => {
      const canary = 'canary-7f3e9a'
      const parts = [{ type: 'text' as const, text: canary }]
      await store.inbox.record({
        account: 'bot',
        message: inbound({ parts, place: { room: 'r', type: 'group', title: canary } }),
        priority: 0,
      })
      await store.accountState.set('bot', 'cursor', canary)
      await store.files.add({ id: newId(), owner: 'u', kind: 'file', name: canary, mime: 'text/plain', size: 1 })
      const { conversationId } = await store.inbox.record({ account: 'bot', message: inbound(), priority: 0 })
      const turn = await store.turns.claim(conversationId, 'n', 10)
      assert.ok(turn)
      const id = newId()
      await store.toolCalls.intend(turn, { id, step: 1, callId: canary, name: 'look', arguments: JSON.stringify({ what: canary }) })
      await store.toolCalls.settle(turn, id, 'done', canary)
      for (const file of readdirSync(join(folder, 'data'))) {
        assert.equal(readFileSync(join(folder, 'data', file)).includes(canary), false, file)
      }
    }))

  it('refuses data that was sealed with another key, and leaves it as it is', () =>
    withStore(async ({ store }, folder) => {
      await store[Symbol.asyncDispose]()
      const other = createSealer(loadKey(join(folder, 'other.key'), false))
      const path = join(folder, 'data', 'posthouse.db')
      await assert.rejects(openStore({ path, sealer: other, clock: systemClock, newId }), /does not fit/)
    }))
})
