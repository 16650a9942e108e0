/** Tools of servers that speak the Model Context Protocol: the servers of the configuration, kept connected. */
import type { McpProblem, McpServer, McpStatus } from '../ports/mcp.ts'
import type { ServerTool } from '../ports/tools.ts'
import { type ConnectParts, connect } from './connection.ts'
import { type KeepParts, type Kept, keepServer } from './server.ts'

export { McpFault } from './fault.ts'
export { approve, markOf, type Pin, pinsOf, stateOf } from './pins.ts'

/** Tools of all servers together: providers take no more than 128, and every question carries them. */
const MOST_TOOLS = 120

export interface Mcp extends AsyncDisposable {
  /** As they are now; the same list for as long as nothing changes. */
  readonly tools: readonly ServerTool[]
  readonly status: readonly McpStatus[]
  /** Begins with servers that are new, ends with those that are gone, and anew with those that are others. */
  update(servers: readonly McpServer[]): Promise<void>
}

/** Nothing is loaded or started before there is a server. */
export function createMcp(parts: Omit<KeepParts, 'told'>): Mcp {
  const kept = new Map<string, Kept>()
  let tools: readonly ServerTool[] = []
  let stale = false
  const told = () => {
    stale = true
  }
  const drop = async (one: Kept) => {
    kept.delete(one.server.id)
    stale = true
    await one[Symbol.asyncDispose]()
  }
  return {
    get tools() {
      if (!stale) return tools
      stale = false
      const all = [...kept.values()].flatMap((one) => one.tools)
      const now = all.slice(0, MOST_TOOLS)
      if (now.length === tools.length && now.every((tool, place) => tool === tools[place])) return tools
      tools = now
      if (all.length > now.length)
        parts.log.warn(
          { code: 'mcp-tool-refused' satisfies McpProblem, kept: now.length, all: all.length },
          'more tools than models are told of',
        )
      return tools
    },
    get status() {
      return [...kept.values()].map(({ status }) => status)
    },
    async update(servers) {
      const same = (one: Kept) => servers.some((server) => JSON.stringify(server) === JSON.stringify(one.server))
      await Promise.all([...kept.values()].filter((one) => !same(one)).map(drop))
      for (const server of servers) if (!kept.has(server.id)) kept.set(server.id, await keepServer(server, { ...parts, told }))
      stale = true
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([...kept.values()].map(drop))
    },
  }
}

/** Connects once, for somebody who looks: who the server says it is, and its tools. @throws {McpFault} */
export async function probeMcp(
  server: McpServer,
  parts: ConnectParts,
): Promise<{ readonly name: string; readonly tools: readonly string[] }> {
  for (const era of ['any', 'first'] as const) {
    try {
      await using connection = await connect(server, era, parts)
      return { name: connection.name, tools: (await connection.list()).tools.map(({ name }) => name) }
    } catch (error) {
      if (era === 'first') throw error
    }
  }
  throw new Error('unreachable')
}
