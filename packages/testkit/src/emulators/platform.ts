/**
 * What every emulated platform is made of: an HTTP server (and sockets) on loopback, failures on demand, and a ledger of all that was
 * asked. What a platform says to a call, and refuses, is its own.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import { createFaults, type Fault, type Faults } from './faults.ts'
import { pause } from './pause.ts'

/** One call as it came in. */
export interface PlatformCall {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: Buffer
  /** Fires when the caller left. */
  readonly signal: AbortSignal
}

/** What a call is answered. An object as `body` is sent as JSON. */
export interface PlatformAnswer {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: object | string | Uint8Array
}

/** One call and what came of it. */
export interface PlatformEntry {
  readonly at: number
  /** As the platform's documentation names it. */
  readonly method: string
  readonly params: unknown
  /** `dropped`: carried out (or refused), but the answer never reached the caller. */
  readonly outcome: { readonly code: number; readonly body?: unknown; readonly dropped?: boolean }
}

export interface PlatformOptions {
  /** Default: loopback, any free port. */
  readonly host?: string
  readonly port?: number
  /** How many ledger entries are kept. Default a million. */
  readonly keep?: number
  /** The most that a body may have; 413 above it. Default 64 MiB. */
  readonly mostBody?: number
}

/** The parts in which platforms differ. */
export interface PlatformParts {
  /** The call's name in ledger and faults, and what it asks for. */
  read(call: PlatformCall): { readonly method: string; readonly params: unknown }
  answer(call: PlatformCall, method: string, params: unknown): PlatformAnswer | Promise<PlatformAnswer>
  /** A fault in the platform's own words. */
  refuse(fault: Fault, method: string): PlatformAnswer
  /** Takes an opened socket; a platform without it refuses to open any. Answer a number to refuse this one with that status. */
  socket?(call: Omit<PlatformCall, 'body' | 'signal'>): ((socket: WebSocket) => void) | number
  /** The verbs for people without code: `POST /control/{verb}`. Undefined: there is no such verb. */
  control?(verb: string, body: Readonly<Record<string, unknown>>): unknown
}

export interface Platform extends AsyncDisposable {
  /** `http://127.0.0.1:port` */
  readonly url: string
  readonly ledger: readonly PlatformEntry[]
  readonly faults: Faults
  readonly sockets: ReadonlySet<WebSocket>
}

const MOST_BODY = 64 * 1024 * 1024

/** Starts a platform; disposing it closes every connection. */
export async function servePlatform(options: PlatformOptions, parts: PlatformParts): Promise<Platform> {
  const { keep = 1_000_000, mostBody = MOST_BODY } = options
  const ledger: PlatformEntry[] = []
  const faults = createFaults()
  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => {
      if (!response.headersSent) write(response, { status: 500, body: `the emulator broke: ${String(error)}` })
    })
  })
  server.keepAliveTimeout = 60_000
  const opener = new WebSocketServer({ noServer: true, perMessageDeflate: false })
  server.on('upgrade', (request: IncomingMessage, line: Duplex, head: Buffer) => {
    const taken = parts.socket?.(headOf(request)) ?? 404
    if (typeof taken === 'number') line.end(`HTTP/1.1 ${taken} Refused\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`)
    else opener.handleUpgrade(request, line, head, taken)
  })

  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const gone = new AbortController()
    response.on('close', () => gone.abort())
    const head = headOf(request)
    const body = await readAll(request, mostBody)
    if (!body) return write(response, { status: 413, headers: { connection: 'close' }, body: 'too large' })
    const call: PlatformCall = { ...head, body, signal: gone.signal }
    if (parts.control && call.path.startsWith('/control/')) return write(response, control(parts.control, call))
    const { method, params } = parts.read(call)
    const key = method.toLowerCase()
    const fault = faults.takeFault(key)
    const answer = fault ? withBody(parts.refuse(fault, method), fault) : await parts.answer(call, method, params)
    const dropped = faults.takeDrop(key)
    if (ledger.length >= keep) ledger.splice(0, Math.ceil(keep / 10))
    const { status: code = 200, body: said } = answer
    ledger.push({
      at: Date.now(),
      method,
      params,
      outcome: { code, ...(code < 300 ? {} : { body: said }), ...(dropped ? { dropped } : {}) },
    })
    const late = faults.delayOf(key)
    if (late > 0) await pause(late, gone.signal)
    if (dropped) response.destroy()
    else write(response, answer)
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(options.port ?? 0, options.host ?? '127.0.0.1', resolve)
  })
  const { address, family, port } = server.address() as AddressInfo
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    ledger,
    faults,
    sockets: opener.clients,
    async [Symbol.asyncDispose]() {
      for (const socket of opener.clients) socket.terminate()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function headOf(request: IncomingMessage): Omit<PlatformCall, 'body' | 'signal'> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
  const headers = request.headers as Record<string, string | undefined>
  return { method: request.method ?? 'GET', path: pathname, query: searchParams, headers }
}

/** A body of at most so many bytes; undefined: it is longer. */
export async function readAll(request: IncomingMessage, most: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > most) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function withBody(answer: PlatformAnswer, fault: Fault): PlatformAnswer {
  return fault.body === undefined ? answer : { status: fault.status, headers: { 'content-type': 'text/html' }, body: fault.body }
}

function control(verbs: NonNullable<PlatformParts['control']>, { path, query, body }: PlatformCall): PlatformAnswer {
  const verb = path.slice('/control/'.length)
  try {
    const given = { ...Object.fromEntries(query), ...(body.length > 0 ? (JSON.parse(body.toString('utf8')) as object) : {}) }
    const result = verbs(verb, given)
    return result === undefined ? { status: 404, body: { error: `no verb ${verb}` } } : { body: { result } }
  } catch (error) {
    return { status: 400, body: { error: error instanceof Error ? error.message : String(error) } }
  }
}

function write(response: ServerResponse, { status = 200, headers = {}, body = '' }: PlatformAnswer): void {
  const json = typeof body === 'object' && !(body instanceof Uint8Array)
  const bytes = json ? JSON.stringify(body) : body
  const type = json ? 'application/json; charset=utf-8' : typeof body === 'string' ? 'text/plain' : 'application/octet-stream'
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(bytes), ...headers }).end(bytes)
}
