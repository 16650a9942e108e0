/** A gateway as a channel sees it, for tests: it remembers everything and admits as it is told. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import {
  type Admission,
  type ChannelHost,
  type Connect,
  type ConnectionState,
  errorTable,
  type Fetch,
  type InboundMessage,
  isPosthouseError,
  type Known,
  type Logger,
  type PlatformCrypto,
  type Routes,
  type WebhookRequest,
  type WebhookResponse,
  type WebhookVerification,
} from '@posthouse/contract'

export interface FakeHost extends ChannelHost, AsyncDisposable {
  /** Every call of `receive`, also those that were refused. */
  readonly attempts: readonly InboundMessage[]
  /** What was admitted, each key once, in order. */
  readonly inbox: readonly InboundMessage[]
  readonly reports: readonly { readonly state: ConnectionState; readonly problem?: string }[]
  /** How often the platform gave a sign of life. */
  readonly signs: number
  /** Everything that was logged or reported, as text: no secret may be found in it. */
  readonly said: readonly string[]
  /** Stands before the inbox: throw to refuse, wait to delay. */
  gate: (message: InboundMessage) => Promise<void> | void
}

export interface FakeHostOptions {
  readonly fetch: Fetch
  readonly connect?: Connect
  readonly crypto?: PlatformCrypto
  readonly account?: string
  /** Serves the channel's webhook on loopback, and gives its address as the public one. */
  readonly webhook?: boolean
  /** Checks proofs that are more than a token in a header; the gateway's own check, where there is one. */
  readonly verify?: (verification: WebhookVerification, call: WebhookRequest) => boolean
}

export async function createFakeHost(options: FakeHostOptions): Promise<FakeHost> {
  const attempts: InboundMessage[] = []
  const inbox = new Map<string, InboundMessage>()
  const reports: { state: ConnectionState; problem?: string }[] = []
  const said: string[] = []
  const state = new Map<string, string>()
  const known = () => ({ now: Date.now(), crypto: options.crypto ?? missing })
  const routes = options.webhook ? await serveWebhook(options.verify ?? hasToken, known) : undefined
  let signs = 0
  const log = (level: string) => (fields: object, message: string) => {
    said.push(`${level} ${message} ${JSON.stringify(fields)}`)
  }
  const logger: Logger = { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') }
  const host: FakeHost = {
    account: options.account ?? 'test',
    log: logger,
    state: {
      get: async (key) => state.get(key),
      set: async (key, value) => {
        state.set(key, value)
      },
      swap: async (key, before, value) => {
        if (state.get(key) !== before) return false
        state.set(key, value)
        return true
      },
    },
    routes: routes ?? { url: undefined, webhook: () => undefined },
    fetch: options.fetch,
    connect: options.connect ?? (() => Promise.reject(new Error('give createFakeHost a "connect" for sockets'))),
    crypto: options.crypto ?? missing,
    attempts,
    get inbox() {
      return [...inbox.values()]
    },
    reports,
    get signs() {
      return signs
    },
    said,
    gate: () => undefined,
    receive: async (message): Promise<Admission> => {
      attempts.push(message)
      // As the gateway does: what bots write, and what nobody may answer, is not kept.
      if (message.author.isBot || message.kind === 'reaction') return { status: 'ignored', messageId: '', conversationId: '' }
      await host.gate(message)
      const duplicate = inbox.has(message.key)
      if (!duplicate) inbox.set(message.key, message)
      return { status: duplicate ? 'duplicate' : 'admitted', messageId: message.key, conversationId: message.place.room }
    },
    received: () => {
      signs++
    },
    report: (reported, problem) => {
      reports.push({ state: reported, ...(problem === undefined ? {} : { problem }) })
      said.push(`report ${reported} ${problem ?? ''}`)
    },
    [Symbol.asyncDispose]: async () => routes?.close(),
  }
  return host
}

const refuse = (): never => {
  throw new Error('give createFakeHost a "crypto" for platforms that seal or sign')
}
const missing: PlatformCrypto = { decrypt: refuse, encrypt: refuse, hmac: refuse }

type Door = Parameters<Routes['webhook']>[0]
type Handle = Parameters<Routes['webhook']>[1]
type Verify = NonNullable<FakeHostOptions['verify']>

/** @throws when the proof is none that can be checked here: nothing passes by mistake. */
const hasToken: Verify = (verification, { headers }) => {
  if (verification.kind !== 'token' || !('header' in verification.at))
    throw new Error(`give createFakeHost a "verify" for proofs of the kind ${verification.kind}`)
  return headers[verification.at.header.toLowerCase()] === verification.secret
}

async function serveWebhook(verify: Verify, known: () => Known) {
  let route: { door: Door; handle: Handle } | undefined
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const call = {
      method: request.method === 'GET' ? 'GET' : 'POST',
      headers: request.headers as Record<string, string | undefined>,
      query: Object.fromEntries(new URL(request.url ?? '/', 'http://localhost').searchParams),
      body: new Uint8Array(Buffer.concat(chunks)),
    } as const
    const answer = async (): Promise<WebhookResponse> => {
      if (!route) return { status: 404 }
      const { door, handle } = route
      if (door.verification?.some((verification) => verify(verification, call)))
        return await handle(call).catch((error: unknown) => ({ status: isPosthouseError(error) ? errorTable[error.code].status : 500 }))
      return door.challenge?.(call, known()) ?? { status: 401 }
    }
    const { status, headers: more = {}, body = '' } = await answer()
    response.writeHead(status, more).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhook`,
    webhook: (door: Door, handle: Handle) => {
      route = { door, handle }
    },
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
