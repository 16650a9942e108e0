/** Opens the database, brings it up to date, and lays the repositories over it. */
import type { Clock } from '../base/clock.ts'
import type { NewId } from '../base/ids.ts'
import type { Sealer } from '../ports/sealer.ts'
import type { Store } from '../ports/store.ts'
import { createConversations } from './conversations.ts'
import { createDeadLetters } from './dead-letters.ts'
import type { Database, OpenOptions } from './dialects/dialect.ts'
import { dialectOf } from './dialects/index.ts'
import { createErasures } from './erasures.ts'
import { createFiles } from './files.ts'
import { createHandovers } from './handovers.ts'
import { createInbox } from './inbox.ts'
import { opens, sealCheck } from './key-check.ts'
import { createLeases } from './leases.ts'
import { createMessages } from './messages.ts'
import { migrate } from './migrations/index.ts'
import { createNodes } from './nodes.ts'
import { createOutbox } from './outbox.ts'
import { placeOf } from './places/index.ts'
import type { FilePlace } from './places/place.ts'
import { first, prepare } from './query.ts'
import { createRetention } from './retention.ts'
import { COPYING, KEY_CHECK } from './schema.ts'
import { createAccountState, createSettings } from './settings.ts'
import { createToolCalls } from './tool-calls.ts'
import { createTurns } from './turns.ts'
import { createUsers } from './users.ts'

/** The key does not fit the data. */
export class WrongKey extends Error {
  override readonly name = 'WrongKey'
}

/** Somebody began to copy into this database, and did not end. */
export class HalfCopied extends Error {
  override readonly name = 'HalfCopied'
}

export interface StoreOptions extends OpenOptions {
  /** `sqlite:` and a path, or `postgres://`. */
  readonly url: string
  readonly sealer: Sealer
  readonly clock: Clock
  readonly newId: NewId
}

export interface OpenedStore extends Store {
  /** Where the bytes of files lie: in `folder`, or with the rows; then `folder` may hold what is older than that. */
  place(folder: string): FilePlace
}

/**
 * Opens the store.
 * @throws {WrongKey} when the data was sealed with another key; nothing is changed then.
 * @throws {DamagedLog} when commits would be lost, on SQLite.
 * @throws {VersionRefused} when versions are at work that do not bear each other.
 * @throws {DatabaseInUse} when somebody else has it alone.
 */
export async function openStore({ url, sealer, clock, newId, ...options }: StoreOptions): Promise<OpenedStore> {
  const dialect = await dialectOf(url)
  const { builder } = dialect
  const database = await dialect.open(url, options)
  try {
    await migrate(database, dialect, { besideNewer: true })
    await checkKey(database, sealer)
  } catch (error) {
    await database[Symbol.asyncDispose]()
    throw error
  }
  const time = { clock, newId }
  const messages = createMessages(builder, sealer)
  const conversations = createConversations(dialect, database, sealer, messages, time)
  const outbox = createOutbox(dialect, database, sealer, { conversations, messages }, time)
  const settings = createSettings(builder, database, time)
  const leases = createLeases(dialect, database)
  const files = createFiles(builder, database, sealer, time)
  return {
    conversations,
    outbox,
    settings,
    inbox: createInbox(builder, database, conversations, messages, files, leases, time),
    turns: createTurns(builder, database, { conversations, messages, outbox }, time),
    handovers: createHandovers(dialect, database, { conversations, messages, outbox }, time),
    toolCalls: createToolCalls(dialect, database, sealer, time),
    dead: createDeadLetters(dialect, database, sealer, messages, time),
    accountState: createAccountState(builder, database, sealer, leases, time),
    users: createUsers(builder, database, time),
    files,
    leases,
    nodes: createNodes(dialect, database),
    place: (folder) => placeOf(dialect, database, folder),
    erasures: () => createErasures(builder).list(database.read),
    // A row for each who asks: one of them may stand still in the midst of it.
    probe: (by) => settings.set(`probe:${by}`, String(clock.now())),
    analyze: () => database.analyze(),
    prune: createRetention(builder, database),
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  }

  async function checkKey(opened: Database, key: Sealer): Promise<void> {
    const find = prepare<{ key: string }>()((p) => builder.selectFrom('meta').select('value').where('key', '=', p.key))
    if (await first(opened.read, find, { key: COPYING }))
      throw new HalfCopied('A copy into this database was begun and did not end. Run `posthouse database copy` again; it goes on.')
    const row = await first(opened.read, find, { key: KEY_CHECK })
    if (row) {
      if (opens(key, row.value)) return
      throw new WrongKey('The key file does not fit the data. Put the key file back that was used with this data. Nothing was changed.')
    }
    const add = prepare<{ value: Uint8Array }>()((p) =>
      builder
        .insertInto('meta')
        .values({ key: KEY_CHECK, value: p.value })
        .onConflict((conflict) => conflict.doNothing()),
    )
    await opened.write(async (transaction) => void (await transaction.run(add, { value: sealCheck(key) })))
  }
}
