/** The HTTP server: one place where requests are limited, identified, answered and counted. */
import { fastifyCookie } from '@fastify/cookie'
import { type FastifyHelmetOptions, fastifyHelmet } from '@fastify/helmet'
import { fastifyMultipart } from '@fastify/multipart'
import { fastifyRateLimit } from '@fastify/rate-limit'
import { fastifySwagger } from '@fastify/swagger'
import { fastifyWebsocket } from '@fastify/websocket'
import type { Logger, WebhookRequest, WebhookResponse, WebhookVerification } from '@posthouse/contract'
import type { MeResponse, ModelsResponse } from '@posthouse/contract/http'
import { fastify } from 'fastify'
import { jsonSchemaTransform, serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import type { Clock } from '../base/clock.ts'
import type { NewId } from '../base/ids.ts'
import type { Blobs } from '../ports/blobs.ts'
import type { Guards } from '../ports/guards.ts'
import type { Live } from '../ports/live.ts'
import type { Models } from '../ports/models.ts'
import type { Store } from '../ports/store.ts'
import { answerErrors } from './errors.ts'
import { identify } from './identity.ts'
import { allowedHosts, enforcePolicy } from './policy.ts'
import { adminRoutes } from './routes/admin.ts'
import { chatRoutes } from './routes/chat.ts'
import { conversationRoutes } from './routes/conversations.ts'
import { entryRoutes } from './routes/entry.ts'
import { fileRoutes } from './routes/files.ts'
import { healthRoutes } from './routes/health.ts'
import { liveRoutes } from './routes/live.ts'
import { openAiRoutes } from './routes/openai.ts'
import { webRoutes } from './routes/web.ts'
import { webhookRoutes } from './routes/webhooks.ts'

/** The rest of the gateway as HTTP sees it. */
export interface Gateway {
  readonly version: string
  readonly store: Store
  readonly blobs: Blobs
  readonly live: Live
  readonly guards: Guards
  readonly models: Models
  readonly clock: Clock
  readonly newId: NewId
  readonly log: Logger
  /** A message of a signed-in person or a program. Resolves after the commit. */
  receive(sent: SentMessage): Promise<{ readonly messageId: string; readonly conversationId: string; readonly duplicate: boolean }>
  stop(conversationId: string): boolean
  inFlight(conversationId: string): import('@posthouse/contract/http').TurnView | undefined
  currentModel(): Promise<string>
  switchModel(model: string): Promise<void>
  modelsView(): Promise<ModelsResponse>
  /** Webhook of an account, if it has one. */
  webhook(
    account: string,
  ): { readonly verification: WebhookVerification; handle(request: WebhookRequest): Promise<WebhookResponse> } | undefined
  /** Whether the gateway may take messages; `problems` say why not. */
  readiness(): Promise<{ readonly ready: boolean; readonly problems: readonly string[] }>
  status(): Promise<Record<string, unknown>>
  metrics(): Promise<{ readonly type: string; readonly text: string }>
}

export interface SentMessage {
  readonly account: 'web' | 'api'
  /** Unique for the person, chosen by the client. */
  readonly clientId: string
  readonly conversationId: string
  readonly owner: string
  readonly author: Pick<MeResponse, 'id' | 'name'>
  readonly text: string
  readonly files: readonly string[]
  readonly replaces: string | undefined
}

export interface HttpOptions {
  readonly host: string
  readonly port: number
  readonly publicUrl: string | undefined
  readonly trustedProxies: readonly string[]
  readonly maxFile: number
  readonly timeout: number
  readonly requestsPerMinute: number
  /** Folder of the web's build; undefined: no pages. */
  readonly webFolder: string | undefined
}

export interface HttpServer extends AsyncDisposable {
  /** Address under which this machine reaches it. */
  readonly url: string
  /** New requests are turned away, sockets are told to come back. */
  drain(): void
}

const JSON_LIMIT = 1024 * 1024
const HEADER_TIMEOUT = 10_000
const BODY_TIMEOUT = 120_000

/** Starts listening. @throws when the port is taken. */
export async function startHttp(gateway: Gateway, options: HttpOptions): Promise<HttpServer> {
  const app = createApp(gateway, options)
  await app.listen({ host: options.host, port: options.port })
  const address = app.server.address()
  const port = typeof address === 'object' && address ? address.port : options.port
  const host = ['0.0.0.0', '::'].includes(options.host) ? '127.0.0.1' : options.host
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    drain() {
      app.posthouse.draining = true
      for (const leave of app.posthouse.sockets) leave()
    },
    async [Symbol.asyncDispose]() {
      app.server.closeAllConnections()
      await app.close()
    },
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    posthouse: { draining: boolean; readonly sockets: Set<() => void> }
  }
}

/** The whole of routes, not listening: tests inject requests. */
export function createApp(gateway: Gateway, options: HttpOptions) {
  const app = fastify({
    bodyLimit: JSON_LIMIT,
    trustProxy: options.trustedProxies.length > 0 ? [...options.trustedProxies] : false,
    requestIdHeader: false,
    genReqId: () => gateway.newId(),
    logger: false,
    requestTimeout: BODY_TIMEOUT,
    connectionTimeout: 0,
    keepAliveTimeout: 65_000,
    routerOptions: { maxParamLength: 200 },
    http: { headersTimeout: HEADER_TIMEOUT, maxHeaderSize: 16 * 1024, connectionsCheckingInterval: 5000 },
  }).withTypeProvider<ZodTypeProvider>()
  app.decorate('posthouse', { draining: false, sockets: new Set<() => void>() })
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  answerErrors(app, gateway)
  enforcePolicy(app, allowedHosts(options))
  app.register(fastifyRateLimit, {
    global: true,
    max: options.requestsPerMinute,
    timeWindow: 60_000,
    cache: 10_000,
    // By address, before anything is looked up: guessing tokens is limited, too.
    keyGenerator: (request) => request.ip,
    errorResponseBuilder: (_request, { ttl }) =>
      Object.assign(new Error('rate'), { statusCode: 429, code: 'rate-limited', retryAfter: ttl }),
  })
  app.register(fastifyMultipart, { limits: { fileSize: options.maxFile, files: 1, fields: 5, headerPairs: 50, parts: 6 } })
  app.register(fastifyWebsocket, { options: { maxPayload: 256 * 1024 } })
  app.register(fastifySwagger, {
    openapi: {
      info: { title: 'Posthouse', version: gateway.version, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
      components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } } },
      security: [{ bearer: [] }],
    },
    transform: jsonSchemaTransform,
  })
  app.register(async (routes) => {
    // For browsers and programs; platforms prove themselves in their own way and need none of this.
    await routes.register(fastifyHelmet, browserHeaders(options.publicUrl))
    await routes.register(fastifyCookie)
    identify(routes, gateway)
    healthRoutes(routes, gateway)
    entryRoutes(routes, gateway)
    chatRoutes(routes, gateway, options.timeout)
    conversationRoutes(routes, gateway)
    fileRoutes(routes, gateway)
    openAiRoutes(routes, gateway)
    adminRoutes(routes, gateway)
    liveRoutes(routes, gateway)
    webRoutes(routes, options.webFolder)
  })
  app.register(async (routes) => webhookRoutes(routes, gateway))
  return app
}

function browserHeaders(publicUrl: string | undefined): FastifyHelmetOptions {
  return {
    contentSecurityPolicy: {
      directives: {
        defaultSrc: ["'self'"],
        scriptSrc: ["'self'"],
        styleSrc: ["'self'", "'unsafe-inline'"],
        imgSrc: ["'self'", 'blob:', 'data:'],
        connectSrc: ["'self'"],
        fontSrc: ["'self'", 'data:'],
        objectSrc: ["'none'"],
        frameAncestors: ["'none'"],
        formAction: ["'self'"],
        baseUri: ["'none'"],
        upgradeInsecureRequests: null,
      },
    },
    strictTransportSecurity: publicUrl?.startsWith('https:') ? { maxAge: 31_536_000 } : false,
    crossOriginEmbedderPolicy: false,
  }
}
