/** Servers of tools, the registry before them, and a store in memory; time runs faster. */
import assert from 'node:assert/strict'
import type { Logger } from '@posthouse/contract'
import { createMcpEmulator, createMcpProgram, type McpEntry, type McpScript } from '@posthouse/testkit'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { createMcp, type Mcp } from '../../src/mcp/index.ts'
import type { McpServer, McpStatus } from '../../src/ports/mcp.ts'
import type { AccountStateStore } from '../../src/ports/store.ts'
import type { ToolOutcome, Tools } from '../../src/ports/tools.ts'
import { createGuardedFetch } from '../../src/security/index.ts'
import { createTools } from '../../src/tools/index.ts'
import { until } from '../journeys/posthouse.ts'

/** How much faster. What must come about in a span of this time needs room in the machine's, too. */
const FASTER = 20

export const fastClock: Clock = {
  ...systemClock,
  elapsed: () => systemClock.elapsed() * FASTER,
  sleep: (ms, signal) => systemClock.sleep(ms / FASTER, signal),
  after: (ms, task) => systemClock.after(ms / FASTER, task),
}

export function memoryStore(): AccountStateStore & { readonly kept: ReadonlyMap<string, string> } {
  const kept = new Map<string, string>()
  const key = (account: string, name: string) => `${account}|${name}`
  return {
    kept,
    get: async (account, name) => kept.get(key(account, name)),
    set: async (account, name, value) => void kept.set(key(account, name), value),
    async swap(account, name, before, value) {
      if (kept.get(key(account, name)) !== before) return false
      kept.set(key(account, name), value)
      return true
    },
  }
}

export interface Scene extends AsyncDisposable {
  readonly mcp: Mcp
  readonly tools: Tools
  readonly store: ReturnType<typeof memoryStore>
  readonly server: McpServer
  readonly ledger: readonly McpEntry[]
  /** Lines of the log: code or message. */
  readonly logged: readonly string[]
  readonly status: McpStatus
  play(script: McpScript): void
  heal(): void
  /** The server at an address forgets its conversations. */
  restart(): void
  /** It ends. */
  gone(): Promise<void>
  ready(): Promise<void>
  /** One call as a turn makes it. */
  call(name: string, args: object, signal?: AbortSignal): Promise<ToolOutcome>
  /** Runs of the tool that cannot be taken back. */
  booked(): readonly string[]
}

export type Kind = 'program' | 'http'

export interface SceneOptions {
  readonly change?: Partial<McpServer>
  readonly script?: McpScript
  readonly store?: ReturnType<typeof memoryStore>
  readonly clock?: Clock
  /** Networks that the owner opened. */
  readonly opened?: readonly string[]
  /** What the server at an address is told we are. */
  readonly authorization?: string
}

export async function openScene(
  kind: Kind,
  { change, script, store = memoryStore(), clock = fastClock, opened = ['127.0.0.1'], authorization = 'Bearer t0ken' }: SceneOptions = {},
): Promise<Scene> {
  await using parts = new AsyncDisposableStack()
  const program = kind === 'program' ? parts.use(createMcpProgram()) : undefined
  const emulator = program ? undefined : parts.use(await createMcpEmulator({ authorization: 'Bearer t0ken' }))
  const played = (program ?? emulator) as { play(script: McpScript): void; heal(): void; readonly ledger: readonly McpEntry[] }
  if (script) played.play(script)
  const reach: McpServer['reach'] = program
    ? { kind: 'program', command: program.command, env: { ...program.env }, folder: process.cwd() }
    : { kind: 'http', url: emulator?.url ?? '', headers: { authorization } }
  const server: McpServer = { id: 'fake', reach, timeout: 200_000, startTimeout: 60_000, tools: undefined, idempotent: ['echo'], ...change }
  const logged: string[] = []
  const line = (fields: object, message?: string) => void logged.push((fields as { code?: string }).code ?? message ?? '')
  const log: Logger = { debug() {}, info: line, warn: line, error: line }
  const fetch = createGuardedFetch({ privateAddresses: opened })
  const mcp = parts.use(createMcp({ store, fetch, clock, log, version: '0' }))
  const tools = createTools([], { clock, log }, () => mcp.tools)
  await mcp.update([server])
  const built = parts.move()
  const statusOf = () => mcp.status.find(({ id }) => id === 'fake') ?? assert.fail('no such server')
  return {
    mcp,
    tools,
    store,
    server,
    logged,
    get ledger() {
      return played.ledger
    },
    get status() {
      return statusOf()
    },
    play: played.play,
    heal: played.heal,
    restart: () => emulator?.restart(),
    gone: async () => emulator?.[Symbol.asyncDispose](),
    ready: () => until(() => statusOf().state === 'ready', 'the server serves'),
    async call(name, args, signal = new AbortController().signal) {
      const checked = tools.check({ id: 'c', name, arguments: JSON.stringify(args) })
      return typeof checked === 'string' ? { state: 'failed', text: checked } : await checked.run('id', signal)
    },
    booked: () => played.ledger.flatMap(({ tool, arguments: given }) => (tool === 'book' ? [String(given?.what)] : [])),
    [Symbol.asyncDispose]: () => built.disposeAsync(),
  }
}
