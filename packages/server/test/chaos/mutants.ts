/** Broken versions of the gateway, as data: each must turn its rows red, or the rows prove nothing. */
import { clusterMutants } from '../cluster/mutants.ts'
import { leaks } from '../http/leaks.ts'
import { type Edit, preloading } from './preload/edit.ts'

export interface Mutant {
  readonly name: string
  /** Rows that must notice, with the case that does where a row has several. */
  readonly rows: readonly string[]
  /** Why it cannot be played yet. */
  readonly notYet?: string
  readonly edits: readonly Edit[]
}

const deliver = 'src/pipeline/reply/deliver.ts'
const toolCalls = 'src/pipeline/converse/tool-calls.ts'

export const mutants: readonly Mutant[] = [
  {
    name: 'acknowledge before commit',
    rows: ['F01', 'F02:offset kept'],
    edits: [
      {
        file: 'src/pipeline/receive/accept.ts',
        find: 'const recorded = await inbox.record({',
        replace: `const recorded = await (async (late: Parameters<typeof inbox.record>[0]): Promise<Recorded> => {
      setTimeout(() => void inbox.record(late).catch(() => {}), 250)
      return { status: 'duplicate', messageId: '', conversationId: '', stored: undefined }
    })({`,
      },
    ],
  },
  {
    name: 'synchronous NORMAL',
    rows: ['F12'],
    edits: [
      { file: 'src/storage/dialects/sqlite.ts', find: 'PRAGMA synchronous = FULL', replace: 'PRAGMA synchronous = NORMAL' },
      { file: 'src/storage/dialects/sqlite.ts', find: 'const SYNCHRONOUS_FULL = 2', replace: 'const SYNCHRONOUS_FULL = 1' },
    ],
  },
  {
    name: 'taken over and the turn goes on',
    rows: ['F46'],
    edits: [
      { file: 'src/storage/handovers.ts', find: 'turn_id: null,\n        turn_node: null,', replace: '' },
      { file: 'src/pipeline/pipeline.ts', find: "work?.abort.abort('handed' satisfies Interruption)", replace: 'void work?.abort' },
    ],
  },
  {
    name: 'restored and let loose',
    rows: ['F14:under load', 'F14:a restore that is killed'],
    edits: [{ file: 'src/app.ts', find: 'paused: pauses.since(account.id) !== undefined', replace: 'paused: false' }],
  },
  {
    name: 'what was under way goes on',
    rows: ['F14:under load'],
    edits: [
      { file: 'src/storage/restore.ts', find: 'const setAside = await setUnderWayAside(run, dialect, at)', replace: 'const setAside = 0' },
    ],
  },
  {
    name: 'begins on a half',
    rows: ['F14:a restore that is killed'],
    edits: [{ file: 'src/storage/store.ts', find: '{ key: COPYING }', replace: "{ key: 'nothing' }" }],
  },
  {
    name: 'a backup has its name from the start',
    rows: ['F14:a backup that is killed'],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is source code
    edits: [{ file: 'src/storage/archive.ts', find: 'const part = `${path}${PART}`', replace: 'const part = path' }],
  },
  {
    name: 'dedupe in memory',
    rows: ['F02:committed', 'F02:mail committed', 'F25', 'F48:Slack, socket'],
    edits: [
      {
        file: 'src/pipeline/receive/accept.ts',
        find: 'account: origin.account,\n      message,',
        // biome-ignore lint/suspicious/noTemplateCurlyInString: it is source code
        replace: 'account: origin.account,\n      message: { ...message, key: `${message.key}:${process.pid}` },',
      },
    ],
  },
  {
    name: 'resend without a journal',
    rows: ['F02:sent', 'F48:WeCom, app'],
    edits: [
      {
        file: 'src/pipeline/pipeline.ts',
        find: 'const ready =\n      account !== undefined',
        replace: 'const ready =\n      clock.now() < 0',
      },
      { file: deliver, find: 'await write(() => outbox.begin(delivery.node, delivery.id))', replace: '' },
      {
        file: deliver,
        find: "observed('sent')",
        replace: "observed('sent')\n    await write(() => outbox.begin(delivery.node, delivery.id))",
      },
    ],
  },
  {
    name: 'stale sends after restart',
    rows: ['F44'],
    edits: [
      { file: deliver, find: 'return freshness !== undefined &&', replace: 'return clock.now() < 0 &&' },
      {
        file: 'src/pipeline/converse/turn.ts',
        find: 'if (account && (account.freshness === undefined ||',
        replace: 'if (account && (account.freshness !== null ||',
      },
    ],
  },
  {
    name: 'error swallowed in a lane',
    rows: ['F03'],
    edits: [
      {
        file: 'src/pipeline/pipeline.ts',
        find: 'await giveBack(work, error)',
        replace: 'if (!error) await giveBack(work, error)',
      },
    ],
  },
  {
    name: 'run before the intent is committed',
    rows: ['F39'],
    edits: [
      {
        file: toolCalls,
        find: 'await write(() => store.toolCalls.intend(turn, intent))',
        replace: 'void write(() => store.toolCalls.intend(turn, intent))',
      },
    ],
  },
  {
    name: 'repeat an intended call',
    rows: ['F39'],
    edits: [{ file: toolCalls, find: 'takeOver(turn, tools.isIdempotent, UNKNOWN)', replace: 'takeOver(turn, () => true, UNKNOWN)' }],
  },
  {
    name: 'a server of tools is started again at once',
    rows: ['F40:exit'],
    edits: [
      { file: 'src/mcp/server.ts', find: 'const wait = backoff(attempt, BACKOFF)', replace: 'const wait = 0 * backoff(attempt, BACKOFF)' },
    ],
  },
  {
    name: 'a call of a server that broke off is made again',
    rows: ['F40:exit'],
    edits: [
      {
        file: 'src/mcp/server.ts',
        find: 'return await connection.call(declared, args, signal)',
        replace: `const once = () => connection!.call(declared, args, signal)
      return await once().catch(async (error) => {
        for (;;) {
          await clock.sleep(100, signal)
          if (signal.aborted) throw error
          if (connection) return await once()
        }
      })`,
      },
    ],
  },
  {
    name: 'a server of tools may say what it likes',
    rows: ['F40:flood'],
    edits: [
      { file: 'src/mcp/stdio.ts', find: 'if (size > MOST_LINE)', replace: 'if (size < 0)' },
      { file: 'src/mcp/stdio.ts', find: 'if (bytes > MOST_BYTES || lines > MOST_LINES)', replace: 'if (size < 0)' },
    ],
  },
  {
    name: 'flag moved before commit',
    rows: ['F02:mail handed over'],
    edits: [
      {
        file: 'src/channels/email/index.ts',
        find: '  strikes.delete(id)\n',
        replace: '  strikes.delete(id)\n  await mailbox.flag([head.uid], [settings.processed_flag])\n',
      },
    ],
  },
]

/** These, and those that other tests must notice. */
export const allMutants: readonly { readonly name: string; readonly edits: readonly Edit[] }[] = [...mutants, ...leaks, ...clusterMutants]

/** Variables of a gateway that is this mutant, or several at once with `,` between them. @throws when there is none of this name. */
export function withMutant(names: string | undefined, env: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  if (names === undefined) return env
  for (const wanted of names.split(',')) {
    if (!allMutants.some(({ name }) => name === wanted)) throw new Error(`there is no mutant "${wanted}"`)
  }
  return preloading({ ...env, CHAOS_MUTANT: names }, 'mutant')
}
