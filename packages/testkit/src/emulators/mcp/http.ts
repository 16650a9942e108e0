/** The emulated server of tools at an address: streamable HTTP as the protocol has it since 2025, with sessions. */
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readAll } from '../platform.ts'
import type { McpEntry, McpFault, McpScript } from './script.ts'
import { createSpeaker, type Speaker, spoilt } from './speech.ts'

export interface McpEmulatorOptions {
  readonly host?: string
  readonly port?: number
  /** What every request has to carry in `authorization`. */
  readonly authorization?: string
}

export interface McpEmulator extends AsyncDisposable {
  /** `http://127.0.0.1:port/mcp` */
  readonly url: string
  readonly ledger: readonly McpEntry[]
  play(script: McpScript): void
  /** Forgets the script: as at the start. */
  heal(): void
  /** Forgets all conversations, as a restart does. */
  restart(): void
}

const MOST_BODY = 4 * 1024 * 1024
const CHANGED = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' }

interface Session {
  readonly speaker: Speaker
  readonly streams: Set<ServerResponse>
}

/** Starts one; disposing it closes every connection. */
export async function createMcpEmulator(options: McpEmulatorOptions = {}): Promise<McpEmulator> {
  const ledger: McpEntry[] = []
  const sessions = new Map<string, Session>()
  let script: McpScript = {}
  const write = (entry: Omit<McpEntry, 'at' | 'pid'>) => void ledger.push({ at: Date.now(), pid: process.pid, ...entry })
  const play = (next: McpScript) => {
    const more = (next.announced ?? 0) - (script.announced ?? 0)
    script = next
    for (const { streams } of sessions.values()) for (const stream of streams) for (let n = 0; n < more; n++) stream.write(eventOf(CHANGED))
  }

  const server = createServer((request, response) => {
    serve(request, response).catch(() => response.destroy())
  })

  async function serve(request: IncomingMessage, response: ServerResponse) {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost')
    const body = (await readAll(request, MOST_BODY))?.toString('utf8')
    if (body === undefined) return end(response, 413, 'too large')
    if (pathname.startsWith('/control/')) return control(pathname.slice('/control/'.length), body, response)
    if (pathname !== '/mcp') return end(response, 404, 'not here')
    if (options.authorization !== undefined && request.headers.authorization !== options.authorization)
      return end(response, 401, 'who are you?')
    const id = request.headers['mcp-session-id']
    const session = typeof id === 'string' ? sessions.get(id) : undefined
    if (id !== undefined && !session) return end(response, 404, 'no such conversation')
    if (request.method === 'DELETE') {
      if (!session) return end(response, 400, 'which conversation?')
      sessions.delete(String(id))
      write({ what: 'end' })
      return end(response, 204, '')
    }
    if (request.method === 'GET') {
      if (!session) return end(response, 400, 'which conversation?')
      if (!/text\/event-stream/.test(request.headers.accept ?? '')) return end(response, 406, 'text/event-stream is needed')
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders()
      session.streams.add(response)
      response.on('close', () => session.streams.delete(response))
      return
    }
    if (request.method !== 'POST') return end(response, 405, 'not so')
    if (!/^application\/json\b/.test(request.headers['content-type'] ?? '')) return end(response, 415, 'application/json is needed')
    if (!/application\/json/.test(request.headers.accept ?? '') || !/text\/event-stream/.test(request.headers.accept ?? ''))
      return end(response, 406, 'application/json and text/event-stream are needed')
    await post(body, session, response)
  }

  async function post(body: string, known: Session | undefined, response: ServerResponse) {
    let message: unknown
    try {
      message = JSON.parse(body)
    } catch {
      return end(response, 400, { jsonrpc: '2.0', id: null, error: { code: -32_700, message: 'not JSON' } })
    }
    const session = known ?? { speaker: createSpeaker(() => script, write), streams: new Set<ServerResponse>() }
    const said = session.speaker.hear(message)
    if (!said?.answer) return end(response, 202, '')
    if (!known && !said.opened) return end(response, 400, said.answer)
    const headers: Record<string, string> = {}
    if (said.opened) {
      const id = randomUUID()
      sessions.set(id, session)
      headers['mcp-session-id'] = id
    }
    if (said.fault) return await misbehave(said.fault, said.answer, response, headers)
    end(response, 200, said.answer, headers)
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(options.port ?? 0, options.host ?? '127.0.0.1', resolve)
  })
  const { address, family, port } = server.address() as AddressInfo

  function control(verb: string, body: string, response: ServerResponse) {
    if (verb === 'ledger') return end(response, 200, { result: ledger })
    if (verb !== 'play') return end(response, 404, { error: `no verb ${verb}` })
    play(JSON.parse(body || '{}') as McpScript)
    return end(response, 200, { result: script })
  }

  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/mcp`,
    ledger,
    play,
    heal: () => play({ announced: script.announced ?? 0 }),
    restart: () => {
      for (const { streams } of sessions.values()) for (const stream of streams) stream.destroy()
      sessions.clear()
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function misbehave(
  fault: McpFault,
  answer: Record<string, unknown>,
  response: ServerResponse,
  headers: Record<string, string>,
): Promise<void> {
  const { kind, ms = 1000 } = fault
  if (kind === 'hang') return
  if (kind === 'exit') {
    response.destroy()
    return
  }
  if (kind === 'slow') await new Promise((resolve) => setTimeout(resolve, ms))
  if (kind === 'flood-line' || kind === 'flood-messages' || kind === 'flood-errors') {
    const event = { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'on and on' } }
    const piece = kind === 'flood-line' ? 'x'.repeat(64 * 1024) : eventOf(event).repeat(100)
    response.writeHead(200, { 'content-type': 'text/event-stream', ...headers })
    for (let left: unknown; !left; )
      left = await new Promise((resolve) => response.write(piece, (error) => resolve(error ?? response.destroyed)))
    return
  }
  end(response, 200, spoilt(answer, fault) ?? '', headers)
}

const eventOf = (message: object) => `event: message\ndata: ${JSON.stringify(message)}\n\n`

function end(response: ServerResponse, status: number, body: object | string, headers: Record<string, string> = {}): void {
  const json = typeof body === 'object'
  response
    .writeHead(status, { 'content-type': json ? 'application/json' : 'text/plain', ...headers })
    .end(json ? JSON.stringify(body) : body)
}
