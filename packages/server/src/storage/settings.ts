/** Small durable values: what was switched at run time, and the state that channels keep. */
import type { Kysely } from 'kysely'
import type { Clock } from '../base/clock.ts'
import type { Sealer } from '../ports/sealer.ts'
import type { AccountStateStore, SettingStore } from '../ports/store.ts'
import type { Database } from './dialects/dialect.ts'
import type { LeaseRows } from './leases.ts'
import { first, prepare } from './query.ts'
import type { Schema } from './schema.ts'

/** What another process changed is seen within this time; settings are asked for in every turn. */
const SEEN_WITHIN = 500
const KEPT = 10_000

export function createSettings(builder: Kysely<Schema>, database: Database, { clock }: { clock: Clock }): SettingStore {
  const get = prepare<{ key: string }>()((p) => builder.selectFrom('settings').select('value').where('key', '=', p.key))
  const set = prepare<{ key: string; value: string; at: number }>()((p) =>
    builder
      .insertInto('settings')
      .values({ key: p.key, value: p.value, updated_at: p.at })
      .onConflict((conflict) =>
        conflict.column('key').doUpdateSet({ value: (e) => e.ref('excluded.value'), updated_at: (e) => e.ref('excluded.updated_at') }),
      ),
  )
  const add = prepare<{ key: string; value: string; at: number }>()((p) =>
    builder
      .insertInto('settings')
      .values({ key: p.key, value: p.value, updated_at: p.at })
      .onConflict((conflict) => conflict.doNothing()),
  )
  const replace = prepare<{ key: string; before: string; value: string; at: number }>()((p) =>
    builder.updateTable('settings').set({ value: p.value, updated_at: p.at }).where('key', '=', p.key).where('value', '=', p.before),
  )
  const kept = new Map<string, { value: string | undefined; until: number }>()
  const keep = (key: string, value: string | undefined) => {
    if (kept.size >= KEPT) kept.clear()
    kept.set(key, { value, until: clock.elapsed() + SEEN_WITHIN })
    return value
  }
  return {
    async get(key) {
      const found = kept.get(key)
      if (found && found.until > clock.elapsed()) return found.value
      return keep(key, (await first(database.read, get, { key }))?.value)
    },
    async set(key, value) {
      await database.write(async (transaction) => void (await transaction.run(set, { key, value, at: clock.now() })))
      keep(key, value)
    },
    async swap(key, before, value) {
      const next = { key, value, at: clock.now() }
      const changed = await database.write((transaction) =>
        before === undefined ? transaction.run(add, next) : transaction.run(replace, { ...next, before }),
      )
      // What is kept may be what it was not.
      kept.delete(key)
      return changed === 1
    },
    once: (key) => database.write(async (transaction) => (await transaction.run(add, { key, value: '1', at: clock.now() })) === 1),
  }
}

export function createAccountState(
  builder: Kysely<Schema>,
  database: Database,
  sealer: Sealer,
  leases: Pick<LeaseRows, 'demand'>,
  { clock }: { clock: Clock },
): AccountStateStore {
  const get = prepare<{ account: string; key: string }>()((p) =>
    builder.selectFrom('account_state').select('value').where('account', '=', p.account).where('key', '=', p.key),
  )
  const set = prepare<{ account: string; key: string; value: Uint8Array; at: number }>()((p) =>
    builder
      .insertInto('account_state')
      .values({ account: p.account, key: p.key, value: p.value, updated_at: p.at })
      .onConflict((conflict) =>
        conflict
          .columns(['account', 'key'])
          .doUpdateSet({ value: (e) => e.ref('excluded.value'), updated_at: (e) => e.ref('excluded.updated_at') }),
      ),
  )
  const add = prepare<{ account: string; key: string; value: Uint8Array; at: number }>()((p) =>
    builder
      .insertInto('account_state')
      .values({ account: p.account, key: p.key, value: p.value, updated_at: p.at })
      .onConflict((conflict) => conflict.doNothing()),
  )
  // Sealed anew each time, the bytes are one writing and no other.
  const replace = prepare<{ account: string; key: string; before: Uint8Array; value: Uint8Array; at: number }>()((p) =>
    builder
      .updateTable('account_state')
      .set({ value: p.value, updated_at: p.at })
      .where('account', '=', p.account)
      .where('key', '=', p.key)
      .where('value', '=', p.before),
  )
  const place = (account: string, key: string) => `account_state.value|${account}|${key}`
  return {
    async get(account, key) {
      const row = await first(database.read, get, { account, key })
      return row && sealer.open(row.value, place(account, key)).toString()
    },
    set: (account, key, value, lease) =>
      database.write(async (transaction) => {
        if (lease) await leases.demand(transaction, lease)
        await transaction.run(set, { account, key, value: sealer.seal(value, place(account, key)), at: clock.now() })
      }),
    swap: (account, key, before, value, lease) =>
      database.write(async (transaction) => {
        if (lease) await leases.demand(transaction, lease)
        const row = await first(transaction, get, { account, key })
        if ((row && sealer.open(row.value, place(account, key)).toString()) !== before) return false
        const next = { account, key, value: sealer.seal(value, place(account, key)), at: clock.now() }
        return (await transaction.run(row ? replace : add, { ...next, before: row?.value ?? new Uint8Array() })) === 1
      }),
  }
}
