/** Broken versions of the gateway, as data: each must turn its journey red, or the journey proves nothing. */
import { registerHooks } from 'node:module'

export interface Mutant {
  readonly name: string
  /** The journey that must notice. */
  readonly journey: 'crash' | 'tools' | 'email'
  /** End of the path of the file. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

export const mutants: readonly Mutant[] = [
  {
    name: 'acknowledge before commit',
    journey: 'crash',
    file: 'src/storage/inbox.ts',
    find: 'record: (inbound) => database.write((transaction) => admit(transaction, inbound)),',
    replace: `record: async (inbound) => {
      setTimeout(() => void database.write((transaction) => admit(transaction, inbound)), 250)
      return { status: 'duplicate', messageId: '', conversationId: '', stored: undefined }
    },`,
  },
  {
    name: 'dedupe in memory',
    journey: 'crash',
    file: 'src/storage/inbox.ts',
    find: 'key: message.key,',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is source code
    replace: 'key: `${message.key}:${process.pid}`,',
  },
  {
    name: 'run before the intent is committed',
    journey: 'tools',
    file: 'src/pipeline/converse/tool-calls.ts',
    find: 'await write(() => store.toolCalls.intend(turn, intent))',
    replace: 'void write(() => store.toolCalls.intend(turn, intent))',
  },
  {
    name: 'repeat an intended call',
    journey: 'tools',
    file: 'src/pipeline/converse/tool-calls.ts',
    find: 'takeOver(turn, tools.isIdempotent, UNKNOWN)',
    replace: 'takeOver(turn, () => true, UNKNOWN)',
  },
  {
    name: 'mark a mail before it is committed',
    journey: 'email',
    file: 'src/channels/email/index.ts',
    find: '  await rememberSubject(host.state, read.message.place)',
    replace: '  await mailbox.flag([head.uid], [settings.processed_flag])',
  },
]

// Preloaded into the gateway's process: the named mutant's file is changed as it is loaded.
const wanted = process.env.POSTHOUSE_MUTANT
if (wanted !== undefined) {
  const mutant = mutants.find(({ name }) => name === wanted)
  if (!mutant) throw new Error(`there is no mutant "${wanted}"`)
  registerHooks({
    load(url, context, next) {
      const loaded = next(url, context)
      if (!url.endsWith(mutant.file)) return loaded
      const source = String(loaded.source)
      if (!source.includes(mutant.find)) throw new Error(`mutant "${wanted}": its place is gone from ${mutant.file}`)
      return { ...loaded, source: source.replace(mutant.find, () => mutant.replace) }
    },
  })
}
