/** The emulator's HTTP side: the Bot API, file downloads and, if wanted, the verbs for people without code. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import type { Faults } from '../faults.ts'
import { pause } from '../pause.ts'
import { type Call, readBody, readCall } from './body.ts'
import { Refusal } from './entities.ts'
import { methods, type World } from './methods.ts'
import type { EmulatedFile } from './store.ts'

/** Answers a control verb with anything that JSON can carry; undefined when there is no such verb. */
export type Control = (verb: string, body: Readonly<Record<string, unknown>>) => unknown

/** Bot API names as documented, for the ledger. */
const NAMES = new Map(
  [
    'getMe',
    'getUpdates',
    'setWebhook',
    'deleteWebhook',
    'getWebhookInfo',
    'sendMessage',
    'editMessageText',
    'deleteMessage',
    'sendChatAction',
  ]
    .concat(['sendPhoto', 'sendDocument', 'sendVoice', 'sendAudio', 'sendVideo', 'getFile', 'answerCallbackQuery', 'setMyCommands'])
    .map((name) => [name.toLowerCase(), name]),
)

export function createHttpServer(world: World, faults: Faults, token: string, control: Control | undefined): Server {
  const server = createServer((request, response) => {
    route(request, response).catch((error: unknown) => {
      if (!response.headersSent)
        answer(response, 500, { ok: false, error_code: 500, description: `Internal Server Error: ${String(error)}` })
    })
  })
  server.keepAliveTimeout = 60_000
  return server

  async function route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = '', query = ''] = (request.url ?? '').split('?', 2)
    const match = /^\/(file\/)?bot([^/]+)\/(.*)$/.exec(path)
    if (control && path.startsWith('/control/')) return serveControl(path.slice(9), query, request, response, control)
    if (!match) return refuse(response, new Refusal(404, 'Not Found'))
    const given = decodeURIComponent(match[2] ?? '')
    if (!/^\d+:[\w-]+$/.test(given)) return refuse(response, new Refusal(404, 'Not Found'))
    if (given !== token) return refuse(response, new Refusal(401, 'Unauthorized'))
    if (match[1]) return serveFile(response, world.store.files.get(decodeURIComponent((match[3] ?? '').replace(/^files\//, ''))))
    return serveMethod((match[3] ?? '').toLowerCase(), query, request, response)
  }

  async function serveMethod(method: string, query: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    let call: Call = { params: {}, files: new Map() }
    let result: unknown
    let refusal: Refusal | undefined
    const fault = faults.takeFault(method)
    try {
      call = await readCall(request, query)
      if (fault)
        throw new Refusal(
          fault.status,
          fault.description ?? 'emulated failure',
          fault.retryAfter ? { retry_after: fault.retryAfter } : undefined,
        )
      const run = methods[method]
      if (!run) throw new Refusal(404, 'Not Found: method not found')
      result = method === 'getupdates' ? await run(world, call, whenGone(response)) : run(world, call, NEVER)
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      refusal = error
    }
    const dropped = faults.takeDrop(method)
    const outcome = { code: refusal?.code ?? 200, ...(refusal ? { description: refusal.message } : {}), ...(dropped ? { dropped } : {}) }
    world.store.record({ at: Date.now(), method: NAMES.get(method) ?? method, params: call.params, outcome })
    const late = faults.delayOf(method)
    if (late > 0) await pause(late, whenGone(response))
    if (dropped) response.destroy()
    else if (fault?.body !== undefined) response.writeHead(fault.status, { 'content-type': 'text/html' }).end(fault.body)
    else if (refusal) refuse(response, refusal)
    else answer(response, 200, { ok: true, result })
  }
}

const NEVER = new AbortController().signal

function whenGone(response: ServerResponse): AbortSignal {
  const gone = new AbortController()
  response.on('close', () => gone.abort())
  return gone.signal
}

function answer(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  const text = JSON.stringify(body)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers })
  response.end(text)
}

function refuse(response: ServerResponse, { code, message, parameters }: Refusal): void {
  const headers: Record<string, string> = parameters?.retry_after ? { 'retry-after': String(parameters.retry_after) } : {}
  // The rest of a body that is too large won't be read.
  if (code === 413) headers.connection = 'close'
  answer(response, code, { ok: false, error_code: code, description: message, ...(parameters ? { parameters } : {}) }, headers)
}

async function serveFile(response: ServerResponse, file: EmulatedFile | undefined): Promise<void> {
  if (!file) return refuse(response, new Refusal(404, 'Not Found'))
  // A length that is not true cannot stand in the header: the body comes in chunks then.
  const length = file.claims === undefined ? { 'content-length': file.size } : {}
  response.writeHead(200, { 'content-type': 'application/octet-stream', ...length })
  const zeros = Buffer.alloc(65_536)
  const last = Math.min(file.size, file.stallsAfter ?? file.size)
  const pieces = function* () {
    for (let at = 0; at < last; at += zeros.length) {
      const end = Math.min(at + zeros.length, last)
      yield file.bytes ? file.bytes.subarray(at, end) : zeros.subarray(0, end - at)
    }
  }
  // Whoever hangs up has had enough; a file that stalls stays open.
  await pipeline(pieces, response, { end: last === file.size }).catch(() => {})
}

async function serveControl(
  verb: string,
  query: string,
  request: IncomingMessage,
  response: ServerResponse,
  control: Control,
): Promise<void> {
  try {
    const body = await readBody(request)
    const given = {
      ...Object.fromEntries(new URLSearchParams(query)),
      ...(body.length > 0 ? (JSON.parse(body.toString('utf8')) as object) : {}),
    }
    const result = control(verb, given)
    answer(response, result === undefined ? 404 : 200, result === undefined ? { error: `no verb ${verb}` } : { result })
  } catch (error) {
    answer(response, 400, { error: error instanceof Error ? error.message : String(error) })
  }
}
