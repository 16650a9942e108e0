/** The HTTP server: one place where requests are limited, identified, answered and counted. */
import { fastifyCookie } from '@fastify/cookie'
import { type FastifyHelmetOptions, fastifyHelmet } from '@fastify/helmet'
import { fastifyMultipart } from '@fastify/multipart'
import { fastifyRateLimit } from '@fastify/rate-limit'
import { fastifySwagger } from '@fastify/swagger'
import { fastifyWebsocket } from '@fastify/websocket'
import { PosthouseError } from '@posthouse/contract'
import { type FastifyInstance, fastify } from 'fastify'
import { jsonSchemaTransform, serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod'
import { answerErrors, classify, refuseLine, sendError } from './errors.ts'
import type { Gateway } from './gateway.ts'
import { identify } from './identity.ts'
import { isDeeperThan } from './json.ts'
import { addressKey, allowedHosts, enforcePolicy } from './policy.ts'
import { adminRoutes } from './routes/admin.ts'
import { chatRoutes } from './routes/chat.ts'
import { conversationRoutes } from './routes/conversations.ts'
import { entryRoutes } from './routes/entry.ts'
import { fileRoutes } from './routes/files.ts'
import { handoverRoutes } from './routes/handovers.ts'
import { healthRoutes } from './routes/health.ts'
import { liveRoutes } from './routes/live.ts'
import { openAiRoutes } from './routes/openai.ts'
import { webRoutes } from './routes/web.ts'
import { webhookRoutes } from './routes/webhooks.ts'
import { createWatch, type Watch } from './watch.ts'

export interface HttpOptions {
  readonly host: string
  readonly port: number
  readonly publicUrl: string | undefined
  readonly trustedProxies: readonly string[]
  /** Bytes of the largest file. */
  readonly maxFile: number
  /** Milliseconds that a caller waits for an answer. */
  readonly timeout: number
  /** Of one caller, whoever and wherever they are. */
  readonly requestsPerMinute: number
  /** Folder of the web's build; undefined: no pages. */
  readonly webFolder: string | undefined
  /** How long a request may take to arrive; tests have less patience. */
  readonly patience?: Patience
}

/** Milliseconds until all headers, and until the whole request, must be here; `check`: how often that is looked at. */
export interface Patience {
  readonly headers: number
  readonly request: number
  readonly check: number
}

export interface HttpServer extends AsyncDisposable {
  /** Address under which this machine reaches it. */
  readonly url: string
  /** Says that it is about to end, and serves as before: balancers look elsewhere, and keep no line open. */
  retire(): void
  /** Lets nobody in any more, so that a balancer asks another node; who is in is served as before. */
  shut(): void
  /** New requests are turned away, sockets are told to come back. */
  drain(): void
  /** Resolves when every request has its answer, or after `ms`. */
  idle(ms: number): Promise<void>
}

const JSON_LIMIT = 1024 * 1024
const JSON_DEPTH = 100
/** A file of 50 MB may come over a slow line. */
const PATIENCE: Patience = { headers: 10_000, request: 300_000, check: 5000 }
const MOST_CONNECTIONS = 20_000
/** Lines that wait to be let in; the system has its own limit. Whoever finds no room knocks again after one second, then three, then seven. */
const BACKLOG = 4096
/** One address may be a whole office behind a router: it has as many requests as this many callers. */
const CALLERS_OF_ADDRESS = 10
/** A little more than the longest message takes as JSON, so that one which is too long is refused by name and not by a closed socket. */
const FRAME_LIMIT = 1024 * 1024
const FRAGMENTS = 1000

/** Starts listening. @throws when the port is taken. */
export async function startHttp(gateway: Gateway, options: HttpOptions): Promise<HttpServer> {
  const app = createApp(gateway, options)
  await app.listen({ host: options.host, port: options.port, backlog: BACKLOG })
  const address = app.server.address()
  const port = typeof address === 'object' && address ? address.port : options.port
  const host = ['0.0.0.0', '::'].includes(options.host) ? '127.0.0.1' : options.host
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    retire() {
      app.posthouse.retiring = true
    },
    shut() {
      // Right behind the turn of the loop in which all who knocked were let in: whoever is left would get a reset.
      setImmediate(() => app.server.close())
    },
    drain() {
      app.posthouse.retiring = true
      app.posthouse.draining = true
      for (const leave of app.posthouse.sockets) leave()
    },
    async idle(ms) {
      const end = gateway.clock.elapsed() + ms
      while (app.posthouse.open > 0 && gateway.clock.elapsed() < end) await gateway.clock.sleep(50)
    },
    async [Symbol.asyncDispose]() {
      app.server.closeAllConnections()
      await app.close()
    },
  }
}

declare module 'fastify' {
  interface FastifyInstance {
    posthouse: {
      retiring: boolean
      draining: boolean /** Requests without their whole answer, sockets apart. */
      open: number
      readonly sockets: Set<() => void>
      readonly watch: Watch
    }
  }
}

/** The whole of routes, not listening: tests inject requests. */
export function createApp(gateway: Gateway, options: HttpOptions) {
  const patience = options.patience ?? PATIENCE
  const app = fastify({
    bodyLimit: JSON_LIMIT,
    trustProxy: options.trustedProxies.length > 0 ? [...options.trustedProxies] : false,
    requestIdHeader: false,
    genReqId: () => gateway.newId(),
    logger: false,
    requestTimeout: patience.request,
    connectionTimeout: 0,
    keepAliveTimeout: 65_000,
    routerOptions: { maxParamLength: 200 },
    frameworkErrors: (error, request, reply) => sendError(request, reply, classify(error)),
    clientErrorHandler: refuseLine,
    http: {
      headersTimeout: patience.headers,
      maxHeaderSize: 16 * 1024,
      connectionsCheckingInterval: patience.check,
      // Programs that offer another protocol (h2c) on an ordinary request get an ordinary answer.
      shouldUpgradeCallback: ({ headers, url }) => /^\/ws(\?|$)/.test(url ?? '') && headers.upgrade?.toLowerCase() === 'websocket',
    },
  }).withTypeProvider<ZodTypeProvider>()
  app.server.maxConnections = MOST_CONNECTIONS
  const watch = createWatch(gateway.clock)
  app.decorate('posthouse', { retiring: false, draining: false, open: 0, sockets: new Set<() => void>(), watch })
  const closed = () => {
    app.posthouse.open--
  }
  // Without promises: every request passes here.
  app.addHook('onRequest', (request, reply, done) => {
    if (app.posthouse.retiring) reply.header('connection', 'close')
    if (request.headers.upgrade === undefined) {
      app.posthouse.open++
      // Not onResponse: that one never comes for a caller who leaves in the middle of its body.
      reply.raw.once('close', closed)
    }
    done()
  })
  app.addHook('onClose', async () => watch[Symbol.dispose]())
  app.setValidatorCompiler(validatorCompiler)
  app.setSerializerCompiler(serializerCompiler)
  readJson(app)
  answerErrors(app, gateway)
  enforcePolicy(app, allowedHosts(options), options.requestsPerMinute * CALLERS_OF_ADDRESS)
  // By address, before anything is looked up; `identify` limits each caller.
  app.register(fastifyRateLimit, {
    global: true,
    max: options.requestsPerMinute * CALLERS_OF_ADDRESS,
    timeWindow: 60_000,
    cache: 10_000,
    keyGenerator: (request) => addressKey(request.ip),
    errorResponseBuilder: (_request, { ttl }) =>
      Object.assign(new Error('rate'), { statusCode: 429, code: 'rate-limited', retryAfter: ttl }),
  })
  app.register(fastifyWebsocket, { options: { maxPayload: FRAME_LIMIT, maxFragments: FRAGMENTS } as { maxPayload: number } })
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
    await routes.register(fastifyMultipart, {
      limits: { fileSize: options.maxFile, files: 1, fields: 5, fieldSize: 1024, headerPairs: 50, parts: 6 },
    })
    identify(routes, gateway, options.requestsPerMinute)
    healthRoutes(routes, gateway)
    entryRoutes(routes, gateway, options.publicUrl)
    chatRoutes(routes, gateway, options.timeout)
    conversationRoutes(routes, gateway)
    fileRoutes(routes, gateway, options.maxFile)
    openAiRoutes(routes, gateway)
    adminRoutes(routes, gateway)
    handoverRoutes(routes, gateway)
    liveRoutes(routes, gateway)
    webRoutes(routes, options.webFolder)
  })
  app.register(async (routes) => webhookRoutes(routes, gateway))
  return app
}

/** Bodies are JSON of bounded depth; keys that would reach into prototypes are refused. Plain text, which any page may send, is not read. */
function readJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, body, done) =>
    parse(request, body, (error, value: unknown) => {
      if (!error && isDeeperThan(value, JSON_DEPTH)) done(new PosthouseError('invalid', `the body is nested more than ${JSON_DEPTH} deep`))
      else done(error, value)
    }),
  )
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
