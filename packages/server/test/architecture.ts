/** Who may import whom, as data, and a reader of imports that knows every form: types, re-exports, dynamic ones. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { parseSync } from 'oxc-parser'
import { checkPowers } from './guards.ts'

export interface Violation {
  /** Path from the source root. */
  readonly file: string
  readonly rule: 'direction' | 'door' | 'library' | 'channel files' | 'cycle' | 'stage' | 'guard'
  readonly detail: string
}

interface SourceFile {
  readonly path: string
  readonly imports: readonly string[]
}

/** Files of the composition root: they see every part. */
const COMPOSITION = /^(app|main|catalog|models-facade|version)\.ts$|^cli\//
const LOWER = ['base', 'ports']
const STAGES = ['receive', 'queue', 'converse', 'reply']

/** Where a library lives (law 6). What is not listed must not be imported. */
const HOMES: Readonly<Record<string, RegExp>> = {
  kysely: /^storage\//,
  'node:sqlite': /^storage\//,
  pg: /^storage\/dialects\/postgres\.ts$/,
  yaml: /^(config|workflows)\/|^cli\//,
  fastify: /^http\//,
  '@fastify/': /^http\//,
  'fastify-type-provider-zod': /^http\//,
  zod: /^http\//,
  'file-type': /^http\//,
  undici: /^security\//,
  ws: /^security\//,
  jose: /^security\//,
  pino: /^ops\//,
  'prom-client': /^ops\//,
  'markdown-it': /^pipeline\//,
  'markdown-it-cjk-friendly': /^pipeline\//,
  'eventsource-parser': /^models\//,
  '@modelcontextprotocol/client': /^mcp\//,
  '@grammyjs/types': /^channels\/telegram\//,
  'discord-api-types': /^channels\/discord\//,
  amqplib: /^broker\//,
  ioredis: /^cluster\//,
  imapflow: /^channels\/email\//,
  nodemailer: /^channels\/email\//,
  'postal-mime': /^channels\/email\//,
  '@marcbachmann/cel-js': /^channels\/webhook\//,
  liquidjs: /^channels\/webhook\//,
  re2js: /^channels\/webhook\//,
  commander: /^cli\//,
  '@clack/prompts': /^cli\//,
  '@posthouse/contract': /./,
  '@posthouse/testkit': /^cli\//,
}

/**
 * The four names of a channel's files, and those of what outgrows them: a long table of settings, finding the words in a message, a protocol
 * of the platform's own on a socket (frames, heartbeat, acknowledgements), the languages and the samples of connectors,
 * what is acknowledged and answered by a token of its own.
 */
const CHANNEL_FILES = [
  'index.ts',
  'receive.ts',
  'send.ts',
  'api.ts',
  'settings.ts',
  'text.ts',
  'socket.ts',
  'expressions.ts',
  'samples.ts',
  'interactions.ts',
  'questions.ts',
]

/** The frame around the tools; every other file of the part is one that is built in. */
const TOOLS_FRAME = ['tools/index.ts', 'tools/registry.ts', 'tools/arguments.ts']

/** Reads all sources below a folder; tests are not part of the product. */
export function readSources(root: string): SourceFile[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts'))
    .map((entry) => {
      const path = join(entry.parentPath, entry.name)
      return { path: relative(root, path), imports: importsOf(path) }
    })
}

/** Every module that a file names, in whatever form. */
function importsOf(path: string): string[] {
  const { module, program, errors } = parseSync(path, readFileSync(path, 'utf8'))
  if (errors.length > 0) throw new Error(`${path} cannot be read: ${errors[0]?.message}`)
  const found = new Set<string>()
  for (const entry of module.staticImports) found.add(entry.moduleRequest.value)
  for (const entry of module.staticExports) for (const item of entry.entries) if (item.moduleRequest) found.add(item.moduleRequest.value)
  visit(program, (node) => {
    const source =
      node.type === 'ImportExpression' ? node.source : node.type === 'TSImportType' ? (node.source ?? node.argument) : undefined
    const value =
      (source as { value?: unknown; literal?: { value?: unknown } } | undefined)?.value ??
      (source as { literal?: { value?: unknown } } | undefined)?.literal?.value
    if (typeof value === 'string') found.add(value)
  })
  return [...found]
}

function visit(node: unknown, look: (node: Record<string, unknown>) => void): void {
  if (Array.isArray(node)) for (const entry of node) visit(entry, look)
  else if (typeof node === 'object' && node !== null) {
    look(node as Record<string, unknown>)
    for (const value of Object.values(node)) visit(value, look)
  }
}

/** Checks all rules; an empty answer means that they hold. */
export function checkArchitecture(root: string): Violation[] {
  const files = readSources(root)
  return [...files.flatMap((file) => checkFile(root, file)), ...findCycles(root, files)]
}

function checkFile(root: string, { path, imports }: SourceFile): Violation[] {
  const found: Violation[] = []
  const [part = ''] = path.split('/')
  const name = path.split('/').at(-1) ?? ''
  const inner = path.split('/').length > 2
  if (part === 'channels' && inner && !CHANNEL_FILES.includes(name)) {
    found.push({ file: path, rule: 'channel files', detail: `a channel has ${CHANNEL_FILES.join(', ')} and no ${name}` })
  }
  for (const detail of checkPowers(root, path)) found.push({ file: path, rule: 'guard', detail })
  for (const specifier of imports) {
    if (!specifier.startsWith('.')) {
      const problem = checkLibrary(path, specifier)
      if (problem) found.push({ file: path, rule: 'library', detail: problem })
      continue
    }
    const target = relative(root, resolve(root, dirname(path), specifier))
    const problem = checkDirection(path, part, target)
    if (problem) found.push({ file: path, ...problem })
  }
  return found
}

function checkLibrary(path: string, specifier: string): string | undefined {
  if (specifier.startsWith('node:') && specifier !== 'node:sqlite') return undefined
  const name = Object.keys(HOMES).find((known) => specifier === known || specifier.startsWith(known.endsWith('/') ? known : `${known}/`))
  if (name === undefined) return `${specifier} has no home; name one in architecture.ts`
  return HOMES[name]?.test(path) ? undefined : `${specifier} lives in ${HOMES[name]}`
}

function checkDirection(path: string, part: string, target: string): Pick<Violation, 'rule' | 'detail'> | undefined {
  const [targetPart = ''] = target.split('/')
  if (target.startsWith('..'))
    return target.endsWith('package.json') ? undefined : { rule: 'direction', detail: `${target} is outside of the sources` }
  // Law 2: a built-in channel, model or tool imports what a stranger's may import.
  if (part === 'tools' && !TOOLS_FRAME.includes(path))
    return { rule: 'direction', detail: `${target}: a built-in imports the contract only` }
  if ((part === 'channels' || part === 'models') && path.split('/').length > 2) {
    const folder = path.split('/').slice(0, 2).join('/')
    const shared = part === 'models' ? ['models/wire/'] : []
    if (folder === 'models/wire' || target.startsWith(`${folder}/`) || shared.some((prefix) => target.startsWith(prefix))) return undefined
    return { rule: 'direction', detail: `${target}: a built-in imports the contract only` }
  }
  if (part === 'pipeline' && targetPart === 'pipeline') return checkStage(path, target)
  if (targetPart === part) return undefined
  if (COMPOSITION.test(path))
    return target.split('/').length <= 2 && !isDoor(target) && !LOWER.includes(targetPart) && !COMPOSITION.test(target)
      ? { rule: 'door', detail: `${target} is behind the door of ${targetPart}` }
      : undefined
  if (part === 'base') return { rule: 'direction', detail: `base imports ${target}` }
  if (LOWER.includes(targetPart) && (part !== 'ports' || targetPart === 'base')) return undefined
  return { rule: 'direction', detail: `${part} imports ${target}: parts meet through ports` }
}

function isDoor(target: string): boolean {
  return target.endsWith('/index.ts') || !target.includes('/')
}

/** Stages never import each other: pipeline.ts chains them. */
function checkStage(path: string, target: string): Pick<Violation, 'rule' | 'detail'> | undefined {
  const stage = path.split('/')[1] ?? ''
  const other = target.split('/')[1] ?? ''
  if (!STAGES.includes(stage) || !STAGES.includes(other) || stage === other) return undefined
  return { rule: 'stage', detail: `${stage} imports ${other}` }
}

function findCycles(root: string, files: readonly SourceFile[]): Violation[] {
  const graph = new Map(
    files.map(({ path, imports }) => [
      path,
      imports.filter((specifier) => specifier.startsWith('.')).map((specifier) => relative(root, resolve(root, dirname(path), specifier))),
    ]),
  )
  const state = new Map<string, 'open' | 'done'>()
  const found: Violation[] = []
  const walk = (path: string, trail: readonly string[]) => {
    if (state.get(path) === 'done') return
    if (state.get(path) === 'open') {
      found.push({ file: path, rule: 'cycle', detail: [...trail.slice(trail.indexOf(path)), path].join(' -> ') })
      return
    }
    state.set(path, 'open')
    for (const next of graph.get(path) ?? []) walk(next, [...trail, path])
    state.set(path, 'done')
  }
  for (const path of graph.keys()) walk(path, [])
  return found
}
