/** Deletes what has served its time, a bounded number of rows at once, so that pruning never holds the message's way. */
import { type Kysely, sql } from 'kysely'
import type { Database } from './dialects/dialect.ts'
import { prepare } from './query.ts'
import type { Schema } from './schema.ts'
import { is } from './steps.ts'

const DAY = 86_400_000
/** Keys outlive the longest retry window of a platform (7 days, P2). */
const KEEP_KEYS = 14 * DAY
const KEEP_SENT = 14 * DAY
const KEEP_CALLS = 14 * DAY
/** Who was refused is told so once in this time. */
const KEEP_REFUSALS = 30 * DAY
/** What channels need while a platform waits; content among it. */
const KEEP_PASSING = 3 * 3_600_000
/** Longer than a backup is kept: what was deleted must not come back with an older one. */
const KEEP_ERASURES = 400 * DAY
const BATCH = 500

/** Answers a function that prunes one batch of each kind and tells how many rows went. */
export function createRetention(builder: Kysely<Schema>, database: Database): (now: number) => Promise<number> {
  // Rows are looked at from the oldest on, so that a pass without work reads one batch and no more.
  const oldInbox = prepare<{ until: number }>()((p) =>
    builder.deleteFrom('inbox').where('seq', 'in', (e) =>
      e
        .selectFrom((f) => f.selectFrom('inbox').select(['seq', 'state', 'received_at']).orderBy('seq').limit(sql.lit(BATCH)).as('oldest'))
        .select('seq')
        .where('state', 'in', [is('done'), is('dropped')])
        .where('received_at', '<', p.until),
    ),
  )
  const oldOutbox = prepare<{ until: number }>()((p) =>
    builder.deleteFrom('outbox').where('seq', 'in', (e) =>
      e
        .selectFrom((f) => f.selectFrom('outbox').select(['seq', 'state', 'created_at']).orderBy('seq').limit(sql.lit(BATCH)).as('oldest'))
        .select('seq')
        .where('state', 'in', [is('sent'), is('dropped')])
        .where('created_at', '<', p.until),
    ),
  )
  // What an earlier turn did is asked for as long as its message may get another one.
  const oldToolCalls = prepare<{ until: number }>()((p) =>
    builder.deleteFrom('tool_calls').where('seq', 'in', (e) =>
      e
        .selectFrom((f) =>
          f.selectFrom('tool_calls').select(['seq', 'conversation_id', 'intended_at']).orderBy('seq').limit(sql.lit(BATCH)).as('oldest'),
        )
        .select('seq')
        .where('intended_at', '<', p.until)
        .where('conversation_id', 'not in', (f) => f.selectFrom('inbox').select('conversation_id').where('done_at', 'is', null))
        .where('conversation_id', 'not in', (f) => f.selectFrom('inbox').select('conversation_id').where('state', '=', is('dead'))),
    ),
  )
  const oldLogins = prepare<{ until: number }>()((p) => builder.deleteFrom('logins').where('expires_at', '<', p.until))
  // Keys that begin with `denied:`; strangers are many, and each leaves one.
  const oldRefusals = prepare<{ until: number }>()((p) =>
    builder
      .deleteFrom('settings')
      .where('key', 'in', (e) =>
        e
          .selectFrom('settings')
          .select('key')
          .where('key', '>=', sql.lit('denied:'))
          .where('key', '<', sql.lit('denied;'))
          .where('updated_at', '<', p.until)
          .limit(sql.lit(BATCH)),
      ),
  )
  // Channels' keys that begin with `~`.
  const oldPassing = prepare<{ until: number }>()((p) =>
    builder
      .deleteFrom('account_state')
      .where('key', 'in', (e) =>
        e
          .selectFrom('account_state')
          .select('key')
          .where('key', 'like', sql.lit('~%'))
          .where('updated_at', '<', p.until)
          .limit(sql.lit(BATCH)),
      )
      .where('updated_at', '<', p.until),
  )
  const oldErasures = prepare<{ until: number }>()((p) => builder.deleteFrom('erasures').where('erased_at', '<', p.until))
  return (now) =>
    database.write(async (transaction) => {
      let rows = 0
      rows += await transaction.run(oldInbox, { until: now - KEEP_KEYS })
      rows += await transaction.run(oldOutbox, { until: now - KEEP_SENT })
      rows += await transaction.run(oldToolCalls, { until: now - KEEP_CALLS })
      rows += await transaction.run(oldRefusals, { until: now - KEEP_REFUSALS })
      rows += await transaction.run(oldPassing, { until: now - KEEP_PASSING })
      rows += await transaction.run(oldLogins, { until: now })
      rows += await transaction.run(oldErasures, { until: now - KEEP_ERASURES })
      return rows
    })
}
