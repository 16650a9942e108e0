/** A connection to a server of tools, in the few words that we need of the protocol. */
import type { Transport } from '@modelcontextprotocol/client'
import type { Clock } from '../base/clock.ts'
import type { GuardedFetch } from '../ports/guards.ts'
import type { McpServer } from '../ports/mcp.ts'
import { OutcomeUnknown } from '../ports/tools.ts'
import { type Declared, type Listed, readTools, shown } from './declared.ts'
import { McpFault } from './fault.ts'
import { createHttpTransport, Unsent } from './http.ts'
import { textOf } from './result.ts'
import { loadSdk, type Sdk } from './sdk.ts'
import { createProgramTransport } from './stdio.ts'

/** Tools of a server; what is beyond is not looked at. */
const MOST_TOOLS = 128
const MOST_PAGES = 16
/** Calls at the same time. */
const MOST_CALLS = 16
/** Milliseconds for a server that let a call run out of its time to show that it is there. */
const SIGN_OF_LIFE = 5000
/** And after a complaint of the library's not sooner than this after the last. */
const LOOK_AT_MOST = 10_000

export interface ConnectParts {
  readonly clock: Clock
  readonly fetch: GuardedFetch
  readonly version: string
  /** The server says that its tools are others. */
  readonly changed?: () => void
  /** Ends it, also before it stands. */
  readonly signal?: AbortSignal
}

export interface Connection extends AsyncDisposable {
  /** Who it says it is. */
  readonly name: string
  /** Resolves when it serves no more, with the reason. */
  readonly ended: Promise<McpFault>
  list(): Promise<Listed>
  /** Answers text for a model. @throws {OutcomeUnknown}; or anything else when nothing was done. */
  call(tool: Declared, args: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<string>
}

/** The protocol's first revisions begin with `initialize`, those since 2026 with `server/discover`. */
export type Era = 'any' | 'first'

/** @throws {McpFault} */
export async function connect(
  server: McpServer,
  era: Era,
  { clock, fetch, version, changed, signal: stop }: ConnectParts,
): Promise<Connection> {
  const sdk = await loadSdk()
  const { reach, startTimeout, timeout } = server
  const program = reach.kind === 'program' ? createProgramTransport(sdk, reach, clock) : undefined
  const transport: Transport =
    program ?? createHttpTransport(sdk, reach as Extract<McpServer['reach'], { kind: 'http' }>, { fetch, clock, timeout: timeout + 1000 })
  const ended = Promise.withResolvers<McpFault>()
  let calls = 0
  const client = new sdk.Client(
    { name: 'posthouse', version },
    {
      capabilities: {},
      versionNegotiation: era === 'any' ? { mode: 'auto', probe: { timeoutMs: Math.min(3000, startTimeout / 3) } } : { mode: 'legacy' },
      // What a tool answers is shown to a model, and no program relies on its shape: no schema of a stranger's is compiled.
      jsonSchemaValidator: { getValidator: () => (input) => ({ valid: true, data: input as never, errorMessage: undefined }) },
      listChanged: { tools: { autoRefresh: false, debounceMs: 0, onChanged: () => changed?.() } },
    },
  )
  client.onclose = () => ended.resolve(program?.fault ?? new McpFault('mcp-ended', 'the connection was closed'))
  // Told by whoever waited; a server that only complains is none of ours.
  client.onerror = () => {}
  let closing: Promise<void> | undefined
  const close = () => {
    closing ??= (async () => {
      if ('terminateSession' in transport)
        await within(clock, 1000, (transport as { terminateSession(): Promise<void> }).terminateSession()).catch(() => {})
      await client.close().catch(() => {})
      await transport.close().catch(() => {})
    })()
    return closing
  }

  stop?.addEventListener('abort', close, { once: true })
  void ended.promise.then(() => stop?.removeEventListener('abort', close))
  try {
    stop?.throwIfAborted()
    await within(clock, startTimeout, client.connect(transport, { timeout: startTimeout }))
  } catch (error) {
    await close()
    const fault = program?.fault ?? faultOf(error, sdk)
    if (program?.errors) fault.errors = program.errors
    throw fault
  }

  async function list(limit = startTimeout): Promise<Listed> {
    const tools: Parameters<typeof readTools>[0][number][] = []
    const refused: string[] = []
    let cursor: string | undefined
    for (let page = 0; page < MOST_PAGES; page++) {
      const { tools: more, nextCursor } = await client.request(
        { method: 'tools/list', params: cursor === undefined ? {} : { cursor } },
        { timeout: limit },
      )
      for (const tool of more) tools.length < MOST_TOOLS ? tools.push(tool) : refused.length < MOST_TOOLS && refused.push(shown(tool.name))
      if (nextCursor === undefined || nextCursor === cursor || tools.length >= MOST_TOOLS) break
      cursor = nextCursor
    }
    const listed = readTools(tools, server.tools)
    return { tools: listed.tools, refused: [...listed.refused, ...refused.filter((name) => server.tools?.includes(name) ?? true)] }
  }

  let looking = false
  let looked = Number.NEGATIVE_INFINITY
  /** A call ran out of its time or was given up, or a stream broke: does the server still answer anything? */
  async function lookForLife() {
    if (looking) return
    looking = true
    try {
      await within(clock, SIGN_OF_LIFE, client.request({ method: 'tools/list', params: {} }, { timeout: startTimeout }))
    } catch (error) {
      ended.resolve(program?.fault ?? faultOf(error, sdk))
    }
    looked = clock.elapsed()
    looking = false
  }
  // A program's end is seen; a server at an address that is gone is known by its streams alone.
  client.onerror = () => {
    if (reach.kind === 'http' && clock.elapsed() - looked > LOOK_AT_MOST) void lookForLife()
  }

  return {
    name: client.getServerVersion()?.name.slice(0, 100) ?? '',
    ended: ended.promise,
    async list() {
      try {
        return await within(clock, startTimeout, list())
      } catch (error) {
        throw program?.fault ?? faultOf(error, sdk)
      }
    },
    async call(tool, args, signal) {
      if (calls >= MOST_CALLS) throw new Error(`${MOST_CALLS} calls of this server are under way; try again later`)
      calls += 1
      try {
        const { name, parameters } = tool
        const definition = { name, inputSchema: parameters as { type: 'object' } }
        const result = await client.callTool({ name, arguments: args }, { signal, timeout: timeout + 1000, toolDefinition: definition })
        if (result.isError) throw new ToolFailed(textOf(result))
        return textOf(result)
      } catch (error) {
        if (signal.aborted) void lookForLife()
        throw explain(error)
      } finally {
        calls -= 1
      }
    },
    [Symbol.asyncDispose]: close,
  }

  function explain(error: unknown): unknown {
    if (error instanceof ToolFailed || signalled(error)) return error
    // It was answered, with a refusal.
    if (error instanceof sdk.ProtocolError) return new Error(`the server refused the call: ${error.message}`)
    if (error instanceof Unsent || (error instanceof McpFault && error.code === 'mcp-ended' && program)) {
      if (error instanceof Unsent) ended.resolve(error)
      return new Error(`the server "${server.id}" is not reachable, and nothing was done`)
    }
    const refused = error instanceof sdk.SdkHttpError && error.status !== undefined && error.status >= 400 && error.status < 500
    const fault = program?.fault ?? faultOf(error, sdk)
    if (refused) {
      ended.resolve(fault)
      return new Error(`the server "${server.id}" refused the call`)
    }
    if (fault.code === 'mcp-silent' || reach.kind === 'http') void lookForLife()
    return new OutcomeUnknown(`the server "${server.id}" gave no answer to this call`, { cause: error })
  }
}

/** The tool ran, and says that it failed. */
class ToolFailed extends Error {}

const signalled = (error: unknown) => error instanceof Error && error.name === 'AbortError'

async function within<T>(clock: Clock, limit: number, task: Promise<T>): Promise<T> {
  const over = new AbortController()
  // Whoever comes too late is heard by nobody.
  task.catch(() => {})
  const late = clock.sleep(limit, over.signal).then(() => {
    if (!over.signal.aborted) throw new McpFault('mcp-silent', `no answer within ${limit / 1000} s`)
    return task
  })
  try {
    return await Promise.race([task, late])
  } finally {
    over.abort()
    late.catch(() => {})
  }
}

/** What an error of the library means. Its words may be those of the server, and are left out. */
function faultOf(error: unknown, { SdkError, SdkHttpError, ProtocolError }: Sdk): McpFault {
  if (error instanceof McpFault) return error
  // The library wraps what our own carriers say.
  const { cause } = (error ?? {}) as { readonly cause?: unknown }
  if (cause instanceof McpFault) return cause
  if (error instanceof SdkHttpError && error.status !== undefined) return new McpFault('mcp-refused', `the server answered ${error.status}`)
  if (error instanceof ProtocolError) return new McpFault('mcp-refused', `the server refused: error ${error.code}`)
  if (!(error instanceof SdkError)) return new McpFault('mcp-garbage', 'the server answered what is not the protocol')
  if (error.code === 'REQUEST_TIMEOUT') return new McpFault('mcp-silent', 'no answer in time')
  if (error.code === 'CONNECTION_CLOSED' || error.code === 'NOT_CONNECTED' || error.code === 'SEND_FAILED')
    return new McpFault('mcp-ended', 'the connection was closed')
  return new McpFault('mcp-garbage', `the server answered what is not the protocol (${error.code})`)
}
