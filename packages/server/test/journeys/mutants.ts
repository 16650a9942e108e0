// biome-ignore-all lint/suspicious/noTemplateCurlyInString: it is source code
/** Broken versions of the gateway, as data: each must turn its journey red, or the journey proves nothing. */
import { registerHooks } from 'node:module'

export interface Mutant {
  readonly name: string
  /** The journey that must notice. */
  readonly journey: 'crash' | 'tools' | 'secrets'
  /** For `secrets`: the sink in which a canary must be found. */
  readonly sink?: RegExp
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
    find: 'return database.write((transaction) => admit(transaction, inbound), lane)',
    replace: `setTimeout(() => void database.write((transaction) => admit(transaction, inbound), lane), 250)
      return Promise.resolve({ status: 'duplicate', messageId: '', conversationId: '', stored: undefined })`,
  },
  {
    name: 'dedupe in memory',
    journey: 'crash',
    file: 'src/storage/inbox.ts',
    find: 'key: message.key,',
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
    name: 'log what was asked',
    journey: 'secrets',
    sink: /^log: query$/,
    file: 'src/http/routes/chat.ts',
    find: 'const author = {',
    replace: "gateway.log.debug({ asked }, 'asked')\n    const author = {",
  },
  {
    name: 'log what the model made of it',
    journey: 'secrets',
    sink: /^log: (argument|zone)$/,
    file: 'src/tools/registry.ts',
    find: "log.warn({ tool: tool.name, error: error instanceof Error ? error.name : typeof error }, 'a tool failed')",
    replace: "log.warn({ err: { message: String(error) } }, 'a tool failed')",
  },
  {
    name: 'log keys',
    journey: 'secrets',
    sink: /^log: model$/,
    file: 'src/models-facade.ts',
    find: 'const model = provider.create(',
    replace: 'process.stdout.write(`${JSON.stringify(settings)}\\n`)\n      const model = provider.create(',
  },
  {
    name: 'repeat what the provider quotes',
    journey: 'secrets',
    sink: /^(log|answers): query$/,
    file: 'src/models/wire/redact.ts',
    find: 'withoutQuotations(redact(text),',
    replace: 'redact(text) || withoutQuotations(redact(text),',
  },
  {
    name: 'label figures with words',
    journey: 'secrets',
    sink: /^metrics: /,
    file: 'src/pipeline/receive/accept.ts',
    find: 'channel: origin.channel, status',
    replace: 'channel: JSON.stringify(message.parts), status',
  },
  {
    name: 'repeat a header in a refusal',
    journey: 'secrets',
    sink: /^answers: header$/,
    file: 'src/http/routes/chat.ts',
    find: "'Idempotency-Key: 1 to 128 visible characters'",
    replace: '`Idempotency-Key: ${key}`',
  },
  {
    name: 'keep a name in plain',
    journey: 'secrets',
    sink: /^data\/posthouse\.db(-wal)?: user$/,
    file: 'src/http/routes/chat.ts',
    find: 'guards.pseudonym(asked.user)',
    replace: 'asked.user',
  },
  {
    name: 'keep a setting in plain',
    journey: 'secrets',
    sink: /^data\/posthouse\.db(-wal)?: query$/,
    file: 'src/http/routes/chat.ts',
    find: 'const author = {',
    replace: "await store.settings.set('asked', asked.query)\n    const author = {",
  },
  {
    name: 'keep bytes of files in plain',
    journey: 'secrets',
    sink: /^data\/files\/.*: (content|document)$/,
    file: 'src/storage/blobs.ts',
    find: 'if (size > limit) throw',
    replace: "await (await open(`${path}.copy`, 'a')).write(chunk)\n          if (size > limit) throw",
  },
  {
    name: 'leave a file behind',
    journey: 'secrets',
    sink: /^tmp\/.*: name$/,
    file: 'src/http/routes/files.ts',
    find: 'await store.files.add(file)',
    replace: ";(await import('node:fs')).writeFileSync(`${process.env.TMPDIR}/left`, part.filename)\n      await store.files.add(file)",
  },
  {
    name: 'print what an error holds',
    journey: 'secrets',
    sink: /^said: crash$/,
    file: 'src/cli/crash.ts',
    find: 'const frames = ',
    replace: 'const frames = String((error as Error).cause) + ',
  },
  {
    name: 'report the environment',
    journey: 'secrets',
    sink: /^report\.json: /,
    file: 'src/cli/crash.ts',
    find: 'excludeEnv: true',
    replace: 'excludeEnv: false',
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
