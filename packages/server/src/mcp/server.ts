/** One server of tools, kept connected: started again after a growing pause, its tools compared with what was approved each time they are told. */
import type { Logger } from '@posthouse/contract'
import { backoff } from '../base/backoff.ts'
import type { McpProblem, McpServer, McpStatus } from '../ports/mcp.ts'
import type { ServerTool } from '../ports/tools.ts'
import { type Connection, type ConnectParts, connect, type Era } from './connection.ts'
import { type Declared, nameFor } from './declared.ts'
import { McpFault } from './fault.ts'
import { compareWithPins, type McpStore, pinsOf, rememberState } from './pins.ts'

const BACKOFF = { first: 500, most: 60_000 }
/** Who served this long begins with the shortest pause again. */
const STEADY = 60_000
/** The list is looked at anew this often, for a server whose news do not reach us; and no sooner than this after a look, the more often it is wanted. */
const LOOK = 300_000
const LOOK_AGAIN = { first: 1000, most: 60_000 }
/** Names in a line of the log. */
const MOST_NAMED = 20
/** How soon an approval is seen. */
const LOOK_AT_APPROVALS = 2000

export interface KeepParts extends ConnectParts {
  readonly log: Logger
  readonly store: McpStore
  /** Its tools or its state are others now. */
  readonly told: () => void
}

export interface Kept extends AsyncDisposable {
  readonly server: McpServer
  readonly status: McpStatus
  /** The same list for as long as nothing changes. */
  readonly tools: readonly ServerTool[]
}

export async function keepServer(server: McpServer, parts: KeepParts): Promise<Kept> {
  const { clock, log, store, told } = parts
  const stop = new AbortController()
  let connection: Connection | undefined
  let status: McpStatus = { id: server.id, state: 'starting', problem: undefined, offered: [], withheld: [] }
  let tools: readonly ServerTool[] = []
  let names = ''
  let written = Promise.resolve()

  const note = (change: Partial<McpStatus>) => {
    const before = JSON.stringify(status)
    status = { ...status, ...change }
    told()
    if (JSON.stringify(status) === before) return
    // For a command beside us: nothing rests on it.
    written = written.then(() => rememberState(store, status, clock.now())).catch(() => {})
  }

  const offer = (active: readonly Declared[], withheld: McpStatus['withheld']) => {
    const now = JSON.stringify(active)
    if (now !== names) tools = active.map(toolOf)
    names = now
    const before = new Map(status.withheld.map(({ tool, problem }) => [tool, problem]))
    const more = withheld.filter(({ tool, problem }) => before.get(tool) !== problem)
    for (const [code, ones] of Map.groupBy(more, ({ problem }) => problem)) {
      const named = ones.map(({ tool }) => tool)
      log.warn(
        { server: server.id, code, tools: named.slice(0, MOST_NAMED), count: named.length },
        'tools of a server are kept from models',
      )
    }
    note({ offered: active.map(({ name }) => name), withheld })
  }

  const toolOf = (declared: Declared): ServerTool => ({
    name: nameFor(server.id, declared.name),
    description: declared.description,
    parameters: declared.parameters,
    // Both have to say so: the server knows its tool, the owner knows the server.
    idempotent: declared.harmlessTwice && server.idempotent.includes(declared.name),
    timeout: server.timeout,
    async run(args, { signal }) {
      if (!connection)
        throw new Error(`the server "${server.id}" of this tool is not reachable now. Nothing was done; say so, or do without it.`)
      return await connection.call(declared, args, signal)
    },
  })

  /** Serves until it ends. @throws {McpFault}; or what the store throws. */
  async function serve(era: Era, begun: () => void): Promise<McpFault> {
    let ended: McpFault | undefined
    let news = false
    let wake = () => {}
    let looks = 0
    let asked = Number.NEGATIVE_INFINITY
    const over = () => ended !== undefined || stop.signal.aborted
    /** Sleeps until something is to be done. */
    const rest = async (ms: number, until: () => boolean) => {
      if (until()) return
      const awake = new AbortController()
      wake = () => {
        if (until()) awake.abort()
      }
      await clock.sleep(ms, awake.signal)
    }
    const changed = () => {
      news = true
      wake()
    }
    await using opened = await connect(server, era, { ...parts, changed, signal: stop.signal })
    void opened.ended.then((fault) => {
      ended = fault
      connection = undefined
      wake()
    })
    const stopping = () => wake()
    stop.signal.addEventListener('abort', stopping)
    try {
      for (;;) {
        news = false
        const listed = await opened.list()
        looks = clock.elapsed() - asked > STEADY ? 1 : looks + 1
        asked = clock.elapsed()
        let pause = backoff(looks, LOOK_AGAIN)
        do {
          const { active, withheld } = await compareWithPins(store, server.id, listed, server.tools)
          if (ended) return ended
          connection = opened
          begun()
          offer(active, withheld)
          note({ state: 'ready', problem: undefined })
          // Whatever a server says of changes, it is asked so often and no more.
          await rest(pause, over)
          pause = 0
          await rest(withheld.length > 0 ? LOOK_AT_APPROVALS : LOOK, () => over() || news)
          if (ended) return ended
          if (stop.signal.aborted) return new McpFault('mcp-ended', 'stopped')
        } while (!news && clock.elapsed() - asked < LOOK)
      }
    } finally {
      connection = undefined
      stop.signal.removeEventListener('abort', stopping)
    }
  }

  async function run() {
    let era: Era = 'any'
    for (let attempt = 1; !stop.signal.aborted; attempt++) {
      const began = clock.elapsed()
      let served = false
      const begun = () => {
        if (!served) log.info({ server: server.id }, 'a server of tools is connected')
        served = true
      }
      const fault = await serve(era, begun).catch((error: unknown) => (error instanceof McpFault ? error : undefined) ?? broken(error))
      if (stop.signal.aborted) return
      if (served && clock.elapsed() - began > STEADY) attempt = 1
      // One that ends at what it does not know is asked in the old way next time.
      if (!served) era = era === 'any' ? 'first' : 'any'
      const wait = backoff(attempt, BACKOFF)
      log.warn(
        { server: server.id, code: fault.code, reason: fault.message, wait },
        'a server of tools does not serve us; it is tried again',
      )
      note({ state: 'waiting', problem: fault.code })
      await clock.sleep(wait, stop.signal)
    }
  }

  function broken(error: unknown): McpFault {
    log.error({ server: server.id, err: error }, 'what was approved of a server could not be compared')
    return new McpFault('mcp-unreachable', 'not compared')
  }

  // Known tools are offered before the server is there, so that a model is told the same whether it is or not.
  const known = Object.entries((await pinsOf(store, server.id)) ?? {})
  const isWanted = (name: string) => server.tools?.includes(name) ?? true
  offer(
    known.flatMap(([name, { approved, offered }]) => (approved && !offered && isWanted(name) ? [approved] : [])),
    known.flatMap(([tool, { approved, offered }]) =>
      offered && isWanted(tool) ? [{ tool, problem: (approved ? 'mcp-tool-changed' : 'mcp-tool-new') satisfies McpProblem }] : [],
    ),
  )
  const running = run()
  return {
    server,
    get status() {
      return status
    },
    get tools() {
      return tools
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
      await written
    },
  }
}
