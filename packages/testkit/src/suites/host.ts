/** A gateway as a channel sees it, for tests: it remembers everything and admits as it is told. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type {
  Admission,
  ChannelHost,
  ConnectionState,
  Fetch,
  InboundMessage,
  Logger,
  WebhookRequest,
  WebhookResponse,
  WebhookVerification,
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
  readonly account?: string
  /** Serves the channel's webhook on loopback, and gives its address as the public one. */
  readonly webhook?: boolean
  /** Checks proofs that are more than a token in a header; the gateway's own check, where there is one. */
  readonly verify?: (verification: WebhookVerification, call: Pick<WebhookRequest, 'headers' | 'body'>) => boolean
}

export async function createFakeHost(options: FakeHostOptions): Promise<FakeHost> {
  const attempts: InboundMessage[] = []
  const inbox = new Map<string, InboundMessage>()
  const reports: { state: ConnectionState; problem?: string }[] = []
  const said: string[] = []
  const state = new Map<string, string>()
  const routes = options.webhook ? await serveWebhook(options.verify ?? hasToken) : undefined
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
    },
    routes: routes ?? { url: undefined, webhook: () => undefined },
    fetch: options.fetch,
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

type Handle = (request: WebhookRequest) => Promise<WebhookResponse>

type Verify = NonNullable<FakeHostOptions['verify']>

/** @throws when the proof is none that can be checked here: nothing passes by mistake. */
const hasToken: Verify = (verification, { headers }) => {
  if (verification.kind !== 'token') throw new Error(`give createFakeHost a "verify" for proofs of the kind ${verification.kind}`)
  return headers[verification.header.toLowerCase()] === verification.secret
}

async function serveWebhook(verify: Verify) {
  let route: { verification: WebhookVerification; handle: Handle } | undefined
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const headers = request.headers as Record<string, string | undefined>
    const call = {
      method: request.method === 'GET' ? 'GET' : 'POST',
      headers,
      query: {},
      body: new Uint8Array(Buffer.concat(chunks)),
    } as const
    const verified = route && verify(route.verification, call)
    const answer = verified ? await route?.handle(call).catch(() => ({ status: 500 })) : { status: route ? 401 : 404 }
    const { status = 500, headers: more = {}, body = '' } = (answer ?? {}) as Partial<WebhookResponse>
    response.writeHead(status, more).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/webhook`,
    webhook: (verification: WebhookVerification, handle: Handle) => {
      route = { verification, handle }
    },
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
