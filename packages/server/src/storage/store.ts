/** Opens the database, brings it up to date, and lays the repositories over it. */
import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { NewId } from '../base/ids.ts'
import type { Sealer } from '../ports/sealer.ts'
import type { Store } from '../ports/store.ts'
import { createConversations } from './conversations.ts'
import { createDeadLetters } from './dead-letters.ts'
import type { Database } from './dialects/dialect.ts'
import { sqlite } from './dialects/sqlite.ts'
import { createFiles } from './files.ts'
import { createInbox } from './inbox.ts'
import { checkLog } from './log-check.ts'
import { createMessages } from './messages.ts'
import { migrate } from './migrations/index.ts'
import { createOutbox } from './outbox.ts'
import { first, prepare } from './query.ts'
import { createRetention } from './retention.ts'
import { createAccountState, createSettings } from './settings.ts'
import { createToolCalls } from './tool-calls.ts'
import { createTurns } from './turns.ts'
import { createUsers } from './users.ts'

/** The key does not fit the data. */
export class WrongKey extends Error {
  override readonly name = 'WrongKey'
}

/** A known text, sealed with the key of the first start: where it stands, and what it is bound to. */
export const KEY_CHECK = { key: 'key_check', place: 'meta.value|key_check' } as const

export interface StoreOptions {
  /** Path of the SQLite file. */
  readonly path: string
  readonly sealer: Sealer
  readonly clock: Clock
  readonly newId: NewId
}

/**
 * Opens the store.
 * @throws {WrongKey} when the data was sealed with another key, {DamagedLog} when commits would be lost; nothing is changed then.
 */
export async function openStore({ path, sealer, clock, newId }: StoreOptions): Promise<Store> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  // Before SQLite looks: it would cut a damaged log off without a word.
  await checkLog(path)
  const dialect = sqlite
  const { builder } = dialect
  const database = await dialect.open(path)
  try {
    await migrate(database, dialect)
    await checkKey(database, sealer)
  } catch (error) {
    await database[Symbol.asyncDispose]()
    throw error
  }
  const time = { clock, newId }
  const messages = createMessages(builder, sealer)
  const conversations = createConversations(builder, database, sealer, messages, time)
  const outbox = createOutbox(builder, database, sealer, { conversations, messages }, time)
  const settings = createSettings(builder, database, time)
  return {
    conversations,
    outbox,
    settings,
    inbox: createInbox(builder, database, conversations, messages, time),
    turns: createTurns(builder, database, { conversations, messages, outbox }, time),
    toolCalls: createToolCalls(builder, database, sealer, time),
    dead: createDeadLetters(builder, database, sealer, messages, time),
    accountState: createAccountState(builder, database, sealer, time),
    users: createUsers(builder, database, time),
    files: createFiles(builder, database, sealer, time),
    probe: () => settings.set('probe', String(clock.now())),
    prune: createRetention(builder, database),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  }

  async function checkKey(opened: Database, key: Sealer): Promise<void> {
    const { place } = KEY_CHECK
    const find = prepare()(() => builder.selectFrom('meta').select('value').where('key', '=', KEY_CHECK.key))
    const row = await first(opened.read, find, {})
    if (row) {
      try {
        key.open(row.value, place)
      } catch (cause) {
        throw new WrongKey(
          `The key file does not fit the data in ${path}. Put the key file back that was used with this data. Nothing was changed.`,
          { cause },
        )
      }
      return
    }
    const add = prepare<{ value: Uint8Array }>()((p) => builder.insertInto('meta').values({ key: KEY_CHECK.key, value: p.value }))
    await opened.write(async (transaction) => void (await transaction.run(add, { value: key.seal('posthouse', place) })))
  }
}
