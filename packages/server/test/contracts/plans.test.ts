/**
 * How PostgreSQL finds the rows of a turn in a grown database: by the indexes that docs/subsystems/storage.md names, and never by reading a table.
 * The server itself writes down the plan of each statement that the store gives it.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { systemClock } from '../../src/base/clock.ts'
import { newId } from '../../src/base/ids.ts'
import type { Store, Turn } from '../../src/ports/store.ts'
import { loadKey } from '../../src/security/key.ts'
import { createSealer } from '../../src/security/sealer.ts'
import { openStore } from '../../src/storage/index.ts'
import { until } from '../journeys/posthouse.ts'
import { ask } from './postgres.ts'
import { createPostgres, noServer, type PrivatePostgres } from './private-postgres.ts'
import { inbound } from './store-scene.ts'

const page = readFileSync(join(import.meta.dirname, '../../../../docs/subsystems/storage.md'), 'utf8')
/** The page's table: what is asked, and the indexes that serve it. */
const documented = Object.fromEntries(
  [...page.matchAll(/^\| `([\w. ]+)` \| ([^|]+) \|$/gm)].map(([, call = '', indexes = '']) => [
    call,
    [...indexes.matchAll(/`(\w+)`/g)].map(([, index]) => index).sort(),
  ]),
)

/** 400 conversations with 100 messages each, all settled: what a plan must not read. */
const GROWN = `
  insert into conversations (id, account, room, thread, type, context_from, revision, created_at, updated_at)
    select 'c' || n, 'bot', 'r' || n, '', 'direct', 0, 0, n, n from generate_series(1, 400) n;
  insert into messages (id, conversation_id, role, body, status, created_at)
    select 'm' || n, 'c' || (n % 400 + 1), case n % 2 when 0 then 'user' else 'assistant' end, '\\x00', 'complete', n from generate_series(1, 40000) n;
  insert into inbox (message_id, account, platform_key, conversation_id, kind, priority, state, sent_at, received_at, done_at)
    select 'm' || n, 'bot', 'k' || n, 'c' || (n % 400 + 1), 'message', 0, 'done', n, n, n from generate_series(2, 40000, 2) n;
  insert into outbox (id, account, conversation_id, state, confirmed, attempts, unknowns, receipts, next_at, created_at, settled_at)
    select 'm' || n, 'bot', 'c' || (n % 400 + 1), 'sent', 1, 0, 0, '[]', n, n, n from generate_series(1, 40000, 2) n;
  analyze;`

interface Plan {
  readonly indexes: readonly string[]
  /** Tables that were read from end to end. */
  readonly read: readonly string[]
}

/** Calls, and reads in the server's log what it did for them. */
async function planOf(server: PrivatePostgres, call: () => Promise<unknown>): Promise<Plan> {
  const from = server.log.length
  await call()
  const mark = newId()
  await ask(server.url, `select '${mark}'`)
  await until(() => server.log.includes(mark), 'the server has logged')
  const text = server.log.slice(from)
  const all = (pattern: RegExp) => [...new Set([...text.matchAll(pattern)].map(([, name = '']) => name))].sort()
  return { indexes: all(/(?:Scan(?: Backward)? using|Bitmap Index Scan on) (\w+)/g), read: all(/Seq Scan on (\w+)/g) }
}

/** A turn, call by call, and what is asked beside it. */
function callsOf(store: Store): Readonly<Record<string, () => Promise<unknown>>> {
  let turn: Turn | undefined
  const id = newId()
  const place = { room: 'r7', type: 'direct' } as const
  return {
    'inbox.record': () => store.inbox.record({ account: 'bot', message: inbound({ place, key: newId() }), priority: 0 }),
    'inbox.record of an edit': () => store.inbox.record({ account: 'bot', message: inbound({ kind: 'edit' }), priority: 0 }),
    'inbox.waitingLanes': () => store.inbox.waitingLanes(1000),
    'inbox.depth': () => store.inbox.depth(),
    'turns.claim': async () => {
      turn = await store.turns.claim('c7', 'n', 10)
      assert.ok(turn)
    },
    'conversations.messages': () => store.conversations.messages('c7', { after: 39_999 }, 50),
    'turns.finish': () =>
      store.turns.finish('n', {
        turnId: turn?.id ?? '',
        lane: 'c7',
        account: 'bot',
        outcome: 'replied',
        inbox: 'done',
        messages: [{ id, role: 'assistant', parts: [{ type: 'text', text: 'answer' }], status: 'complete' }],
        deliveries: [{ id, begun: true }],
      }),
    'turns.recover': () => store.turns.recover(),
    'outbox.due': () => store.outbox.due('n', Number.MAX_SAFE_INTEGER, 0, 1000),
    'outbox.adopt': () => store.outbox.adopt('n', 'c7'),
    'outbox.confirm': () => store.outbox.confirm('n', id, { id: '1', room: 'r7' }, true),
    'outbox.isOurs': () => store.outbox.isOurs('bot', place, 'none'),
    'dead.count': () => store.dead.count(),
    prune: () => store.prune(1),
  }
}

describe('plans of PostgreSQL', { skip: noServer }, () => {
  it('are those that the page names', async () => {
    using server = createPostgres(['shared_preload_libraries=auto_explain', 'auto_explain.log_min_duration=0', 'autovacuum=off'])
    const folder = mkdtempSync(join(tmpdir(), 'posthouse-plans-'))
    const sealer = createSealer(loadKey(join(folder, 'posthouse.key'), false))
    rmSync(folder, { recursive: true })
    await using store = await openStore({ url: server.url, sealer, clock: systemClock, newId })
    await ask(server.url, GROWN)
    const found: Record<string, readonly string[]> = {}
    for (const [name, call] of Object.entries(callsOf(store))) {
      const { indexes, read } = await planOf(server, call)
      // The few logins have no index by their time.
      assert.deepEqual(
        read.filter((table) => table !== 'logins'),
        [],
        `${name} reads whole tables`,
      )
      found[name] = indexes
    }
    assert.deepEqual(found, documented)
  })
})
