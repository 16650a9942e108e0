// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are pieces of source
/** Gateways that tell what nobody may hear, as data: what each leaks must be found. */
import type { Edit } from '../chaos/preload/edit.ts'

export interface Leak {
  readonly name: string
  /** Where a canary must be found. */
  readonly sink: RegExp
  readonly edits: readonly Edit[]
}

export const leaks: readonly Leak[] = [
  {
    name: 'log what was asked',
    sink: /^log: query$/,
    edits: [
      {
        file: 'src/http/routes/chat.ts',
        find: 'const author = {',
        replace: "gateway.log.debug({ asked }, 'asked')\n    const author = {",
      },
    ],
  },
  {
    name: 'log what the model made of it',
    sink: /^log: (argument|zone)$/,
    edits: [
      {
        file: 'src/tools/registry.ts',
        find: "log.warn({ tool: tool.name, error: error instanceof Error ? error.name : typeof error }, 'a tool failed')",
        replace: "log.warn({ err: { message: String(error) } }, 'a tool failed')",
      },
    ],
  },
  {
    name: 'log keys',
    sink: /^log: model$/,
    edits: [
      {
        file: 'src/models-facade.ts',
        find: 'const model = provider.create(',
        replace: 'process.stdout.write(`${JSON.stringify(settings)}\\n`)\n      const model = provider.create(',
      },
    ],
  },
  {
    name: 'repeat what the provider quotes',
    sink: /^(log|answers): query$/,
    edits: [
      {
        file: 'src/models/wire/redact.ts',
        find: 'withoutQuotations(redact(text),',
        replace: 'redact(text) || withoutQuotations(redact(text),',
      },
    ],
  },
  {
    name: 'label figures with words',
    sink: /^metrics: /,
    edits: [
      {
        file: 'src/pipeline/receive/accept.ts',
        find: 'channel: origin.channel, status',
        replace: 'channel: JSON.stringify(message.parts), status',
      },
    ],
  },
  {
    name: 'repeat a header in a refusal',
    sink: /^answers: header$/,
    edits: [
      {
        file: 'src/http/idempotency-key.ts',
        find: "'Idempotency-Key: 1 to 128 visible characters'",
        replace: '`Idempotency-Key: ${key}`',
      },
    ],
  },
  {
    name: 'keep a name in plain',
    sink: /^data\/posthouse\.db(-wal)?: user$/,
    edits: [
      {
        file: 'src/http/routes/chat.ts',
        find: 'guards.pseudonym(asked.user)',
        replace: 'asked.user',
      },
    ],
  },
  {
    name: 'keep a setting in plain',
    sink: /^data\/posthouse\.db(-wal)?: query$/,
    edits: [
      {
        file: 'src/http/routes/chat.ts',
        find: 'const author = {',
        replace: "await store.settings.set('asked', asked.query)\n    const author = {",
      },
    ],
  },
  {
    name: 'keep bytes of files in plain',
    sink: /^data\/files\/.*: (content|document)$/,
    edits: [
      {
        file: 'src/storage/blobs.ts',
        find: 'if (size > limit) throw',
        replace:
          'await place.write(`copy-${id}`, (async function* () { yield [Buffer.from(chunk)] })())\n          if (size > limit) throw',
      },
    ],
  },
  {
    name: 'leave a file behind',
    sink: /^tmp\/.*: name$/,
    edits: [
      {
        file: 'src/http/routes/files.ts',
        find: 'await store.files.add(file)',
        replace: ";(await import('node:fs')).writeFileSync(`${process.env.TMPDIR}/left`, part.filename)\n      await store.files.add(file)",
      },
    ],
  },
  {
    name: 'print what an error holds',
    sink: /^said: crash$/,
    edits: [
      {
        file: 'src/cli/crash.ts',
        find: 'const frames = ',
        replace: 'const frames = String((error as Error).cause) + ',
      },
    ],
  },
  {
    name: 'report the environment',
    sink: /^report\.json: /,
    edits: [
      {
        file: 'src/cli/crash.ts',
        find: 'excludeEnv: true',
        replace: 'excludeEnv: false',
      },
    ],
  },
]
