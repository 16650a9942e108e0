/** A real gateway as a process, driven over real sockets as clients do: requests, event streams, web sockets, raw bytes. */
import { connect } from 'node:net'
import { join } from 'node:path'
import type { ErrorBody, ServerFrame } from '@posthouse/contract/http'
import { createModelEmulator, type ModelEmulator } from '@posthouse/testkit'
import { WebSocket } from 'ws'
import { systemClock } from '../../src/base/clock.ts'
import { newId } from '../../src/base/ids.ts'
import type { Scope } from '../../src/ports/guards.ts'
import type { Store } from '../../src/ports/store.ts'
import { createSealer, createTokens, hashPassword, loadKey, type MasterKey } from '../../src/security/index.ts'
import { openStore } from '../../src/storage/index.ts'
import { createPosthouse, type Posthouse } from '../journeys/posthouse.ts'

export interface Caller {
  readonly id: string
  readonly name: string
  readonly password: string
  readonly token: string
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The parsed body; undefined when it is no JSON. */
  // biome-ignore lint/suspicious/noExplicitAny: tests read bodies of every shape
  readonly body: any
}

export interface Asking {
  readonly method?: string
  readonly token?: string
  readonly cookie?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly json?: unknown
  readonly body?: string | Uint8Array<ArrayBuffer> | FormData | ReadableStream<Uint8Array>
}

export interface Gateway extends AsyncDisposable {
  readonly posthouse: Posthouse
  readonly model: ModelEmulator
  readonly url: string
  readonly admin: Caller
  call(path: string, asking?: Asking): Promise<Answer>
  /** Makes a person (not an administrator) with a token. */
  person(name: string): Promise<Caller>
  token(userId: string, scopes?: readonly Scope[], lifetime?: number): Promise<{ readonly id: string; readonly token: string }>
  /** The database beside the running gateway. */
  withStore<T>(work: (store: Store, key: MasterKey) => Promise<T>): Promise<T>
  socket(caller: { readonly token: string }, headers?: Record<string, string>): Promise<LiveSocket>
}

export interface GatewayOptions {
  /** A function gets the address of the model. */
  readonly config?: Record<string, unknown> | ((model: string) => Record<string, unknown>)
  readonly model?: Parameters<typeof createModelEmulator>[0]
  readonly env?: NodeJS.ProcessEnv
  /** Puts files into the folder before the start; answers more of the environment. */
  readonly prepare?: (folder: string) => NodeJS.ProcessEnv
}

export const password = 'correct horse battery'

/** Starts a gateway with an account and a model that echoes. */
export async function startGateway({
  config: given = {},
  model: options = {},
  env = {},
  prepare = () => ({}),
}: GatewayOptions = {}): Promise<Gateway> {
  const model = await createModelEmulator({ keys: 'any', models: 'any', ...options })
  const config = typeof given === 'function' ? given(model.url) : given
  const posthouse = createPosthouse({
    models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
    ...config,
    // Each test calls from an address of its own, so that no limit of one is felt by another.
    server: { trusted_proxies: ['127.0.0.1'], ...(config.server as object) },
  })
  try {
    await posthouse.start({ ...env, ...prepare(posthouse.folder) })
  } catch (error) {
    await Promise.all([posthouse[Symbol.asyncDispose](), model[Symbol.asyncDispose]()])
    throw error
  }
  const withStore: Gateway['withStore'] = async (work) => {
    const key = loadKey(join(posthouse.folder, 'posthouse.key'), true)
    const url = `sqlite:${join(posthouse.folder, 'data/posthouse.db')}`
    await using store = await openStore({ url, sealer: createSealer(key), clock: systemClock, newId })
    return await work(store, key)
  }
  const token: Gateway['token'] = (userId, scopes = ['chat'], lifetime = 3_600_000) =>
    withStore((store, key) =>
      createTokens({ users: store.users, key, clock: systemClock, newId }).create({ name: 'test', userId, scopes, lifetime }),
    )
  const person = async (name: string, role: 'admin' | 'user' = 'user'): Promise<Caller> => {
    const id = newId()
    const passwordHash = await hashPassword(password)
    await withStore((store) => store.users.add({ id, name, role, passwordHash }))
    const made = await token(id, role === 'admin' ? ['chat', 'admin', 'metrics'] : ['chat'])
    return { id, name, password, token: made.token }
  }
  const admin = await person('Ann', 'admin')
  return {
    posthouse,
    model,
    admin,
    withStore,
    token,
    get url() {
      return posthouse.url
    },
    person: (name) => person(name),
    call: (path, asking) => call(posthouse.url + path, asking),
    socket: (caller, headers = {}) => openSocket(posthouse.url, { authorization: `Bearer ${caller.token}`, ...headers }),
    async [Symbol.asyncDispose]() {
      await posthouse[Symbol.asyncDispose]()
      await model[Symbol.asyncDispose]()
    },
  }
}

let lastAddress = 0
/** An address that nobody else calls from. */
export const address = () => `10.1.${Math.floor(++lastAddress / 250)}.${(lastAddress % 250) + 1}`

export async function call(url: string, { method, token, cookie, headers = {}, json, body }: Asking = {}): Promise<Answer> {
  const content = json === undefined ? body : JSON.stringify(json)
  const response = await fetch(url, {
    method: method ?? (content === undefined ? 'GET' : 'POST'),
    headers: {
      ...(json === undefined ? {} : { 'content-type': 'application/json' }),
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...(cookie ? { cookie } : {}),
      'x-forwarded-for': address(),
      ...headers,
    },
    ...(content === undefined ? {} : { body: content }),
    redirect: 'manual',
  })
  const text = await response.text()
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {}
  return { status: response.status, headers: response.headers, text, body: parsed }
}

/** What is wrong with a refusal: it must be a 4xx with our body and this code. Empty when all is right. */
export function refusal(answer: Answer, code: string | readonly string[]): string {
  const { error } = (answer.body ?? {}) as Partial<ErrorBody>
  const codes: readonly string[] = typeof code === 'string' ? [code] : code
  if (answer.status < 400 || answer.status > 499) return `status ${answer.status}: ${answer.text.slice(0, 200)}`
  if (!error || !codes.includes(error.code)) return `code ${error?.code} instead of ${codes.join(' or ')}: ${answer.text.slice(0, 200)}`
  if (typeof error.message !== 'string' || error.message === '') return 'no message'
  if (typeof error.id !== 'string') return 'no id'
  return ''
}

// ---- Event streams ----------------------------------------------------------------------------------------------------

export interface StreamEvent {
  readonly id: string | undefined
  readonly event: string
  // biome-ignore lint/suspicious/noExplicitAny: tests read events of every shape
  readonly data: any
}

/** The events of an answer as they come; leaving the loop hangs up. */
export async function* events(url: string, asking: Asking & { readonly token: string }): AsyncGenerator<StreamEvent> {
  const hangUp = new AbortController()
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${asking.token}`,
      'x-forwarded-for': address(),
      ...asking.headers,
    },
    body: JSON.stringify(asking.json),
    signal: hangUp.signal,
  })
  if (response.status !== 200 || !response.body) throw new Error(`status ${response.status}: ${await response.text()}`)
  let text = ''
  try {
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk
      for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
        const lines = text.slice(0, end).split('\n')
        text = text.slice(end + 2)
        const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)
        const data = field('data')
        if (data !== undefined) yield { id: field('id'), event: field('event') ?? '', data: data === '[DONE]' ? data : JSON.parse(data) }
      }
    }
  } finally {
    hangUp.abort()
  }
}

/** What a reader of a stream has, who follows the rules: `start` voids, `delta` adds, the last id resumes. */
export interface Reader {
  text: string
  lastId: string
  restarts: number
  end: StreamEvent['data'] | undefined
  conversation: string
}
export const newReader = (): Reader => ({ text: '', lastId: '', restarts: 0, end: undefined, conversation: '' })

export function read(reader: Reader, { id, event, data }: StreamEvent): void {
  if (id !== undefined) reader.lastId = id
  if (event === 'start') {
    if (data.restarted) reader.restarts++
    reader.text = ''
    reader.conversation = data.conversation_id
  } else if (event === 'delta') reader.text += data.text
  else if (event === 'end') reader.end = data
  else throw new Error(`unexpected event ${event}: ${JSON.stringify(data)}`)
}

// ---- Web sockets ------------------------------------------------------------------------------------------------------

type Frame<T extends ServerFrame['type']> = Extract<ServerFrame, { type: T }>

export interface LiveSocket extends Disposable {
  readonly frames: readonly ServerFrame[]
  readonly raw: WebSocket
  /** Undefined while it is open. */
  readonly closed: { readonly code: number; readonly reason: string } | undefined
  send(frame: object | string): void
  /** The first frame of this type, past or to come, for which `holds`. */
  wait<T extends ServerFrame['type']>(type: T, holds?: (frame: Frame<T>) => boolean): Promise<Frame<T>>
  waitClosed(): Promise<{ readonly code: number; readonly reason: string }>
}

/** Resolves when the socket is open. @throws an error with `status` when it is refused. */
export async function openSocket(url: string, headers: Record<string, string>): Promise<LiveSocket> {
  const raw = new WebSocket(`${url.replace('http', 'ws')}/ws`, { headers: { 'x-forwarded-for': address(), ...headers } })
  const frames: ServerFrame[] = []
  const watchers = new Set<() => void>()
  let closed: LiveSocket['closed']
  const changed = () => {
    for (const look of watchers) look()
  }
  raw.on('message', (data) => {
    frames.push(JSON.parse(String(data)))
    changed()
  })
  raw.on('close', (code, reason) => {
    closed = { code, reason: String(reason) }
    changed()
  })
  await new Promise<void>((resolve, reject) => {
    raw.once('open', () => resolve())
    raw.once('unexpected-response', (_request, response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        reject(Object.assign(new Error(`refused: ${response.statusCode} ${text}`), { status: response.statusCode, text }))
      })
    })
    raw.once('error', reject)
  })
  raw.on('error', () => {})
  const waitFor = <T>(find: () => T | undefined, what: string): Promise<T> =>
    new Promise((resolve, reject) => {
      const look = () => {
        const found = find()
        if (found === undefined) return
        end()
        resolve(found)
      }
      const end = () => {
        clearTimeout(timer)
        watchers.delete(look)
      }
      const timer = setTimeout(() => {
        end()
        reject(
          new Error(`no ${what} within 10 s; the last frames: ${JSON.stringify(frames.slice(-5)).slice(0, 2000)} closed: ${closed?.code}`),
        )
      }, 10_000)
      watchers.add(look)
      look()
    })
  return {
    frames,
    raw,
    get closed() {
      return closed
    },
    send: (frame) => raw.send(typeof frame === 'string' ? frame : JSON.stringify(frame)),
    wait: (type, holds = () => true) =>
      waitFor(() => frames.find((frame): frame is Frame<typeof type> => frame.type === type && holds(frame as never)), `frame ${type}`),
    waitClosed: () => waitFor(() => closed, 'close'),
    [Symbol.dispose]: () => raw.terminate(),
  }
}

// ---- Raw bytes --------------------------------------------------------------------------------------------------------

/** Sends bytes as they are; answers what came back until the other side closed, or `quiet` milliseconds went by without a byte. */
export function raw(
  url: string,
  bytes: string | Buffer,
  { quiet = 1500 }: { quiet?: number } = {},
): Promise<{ text: string; closed: boolean }> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname)
    let text = ''
    const end = (closed: boolean) => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ text, closed })
    }
    let timer = setTimeout(end, quiet, false)
    socket.on('connect', () => socket.write(bytes))
    socket.on('data', (data) => {
      text += data.toString('latin1')
      clearTimeout(timer)
      timer = setTimeout(end, quiet, false)
    })
    socket.on('close', () => end(true))
    socket.on('error', (error: Error & { code?: string }) => {
      if (error.code === 'ECONNRESET' || error.code === 'EPIPE') end(true)
      else reject(error)
    })
  })
}
