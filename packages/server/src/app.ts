/**
 * The composition root: the only file that imports every part. It opens them in order, hands each what it needs as plain arguments, and closes
 * them in the reverse order.
 */
import { hostname } from 'node:os'
import { join } from 'node:path'
import { type FileRef, PosthouseError, type PriorityName, priorities } from '@posthouse/contract'
import type { ModelsResponse } from '@posthouse/contract/http'
import { systemClock } from './base/clock.ts'
import { newId } from './base/ids.ts'
import { createEmbeddedBroker, openRabbitBroker } from './broker/index.ts'
import { createCache } from './cache/index.ts'
import { createAccounts, decodeWeb, keepAccountsKnown, web } from './channels/index.ts'
import { announce, createLeases, createLocalRates, createSingleLive, joinNodes, openShared } from './cluster/index.ts'
import type { Config } from './config/index.ts'
import { type Gateway as HttpGateway, type SentMessage, startHttp } from './http/index.ts'
import { createMcp } from './mcp/index.ts'
import { createModels } from './models-facade.ts'
import { type AppLogger, createMetrics, freeRatio, keepUp, returnMemory } from './ops/index.ts'
import { chosenModel, createPipeline, switchEverywhere } from './pipeline/index.ts'
import type { Outside, OutsideName } from './ports/outside.ts'
import { pausesOf } from './ports/pauses.ts'
import * as security from './security/index.ts'
import { createBlobs, createQuota, formerNode, hasData, holdFolder, openStore, tellAddress, tellNode } from './storage/index.ts'
import { builtInTools, createTools } from './tools/index.ts'
import { version } from './version.ts'

export interface Gateway extends AsyncDisposable {
  readonly url: string
  /** Where the first account is made; undefined when there is one. */
  readonly setupUrl: string | undefined
  /** Accounts that neither receive nor send until an operator lets them. */
  readonly paused: readonly string[]
  /** Takes over what of a new configuration can change while running; answers the sections that need a restart. */
  reconfigure(config: Config): Promise<readonly string[]>
  /** Resolves when somebody has taken the database alone: this gateway must end. */
  readonly lost: Promise<Error>
  /** Stops taking messages, lets running turns end, and gives the rest back to the database. */
  drain(): Promise<void>
}

export interface GatewayOptions {
  readonly log: AppLogger
  readonly webFolder: string | undefined
}

const SETUP_LIFETIME = 24 * 3_600_000
/** P10: a drain takes at most 20 s; this part of it is for the turns that run. */
const GRACE = 12_000
/** Behind the shut door, who came in last is still served. */
const SHUT = 500
/** How soon a paused account rests, or goes on. */
const LOOK_AT_PAUSES = 1000
const PAUSED_NOW = 'accounts are paused: they receive and send nothing until `posthouse channel resume`'
/** Below this part of free disk no message is taken: deleting needs room, too. */
const LEAST_FREE = 0.02

/** Opens everything and begins to work. @throws when the data cannot be opened or the port is taken. */
export async function createGateway(initial: Config, { log, webFolder }: GatewayOptions): Promise<Gateway> {
  let config = initial
  const clock = systemClock
  await using opened = new AsyncDisposableStack()

  opened.use(holdFolder(config.dataFolder))
  const { url } = config.database
  const key = security.loadKey(config.keyFile, await hasData(url))
  const sealer = security.createSealer(key)
  const lost = Promise.withResolvers<Error>()
  const store = opened.use(await openStore({ url, sealer, clock, newId, as: 'gateway', lost: lost.resolve }))
  let warned = false
  const node = opened.use(
    await joinNodes({
      nodes: store.nodes,
      name: config.nodeName,
      version,
      clock,
      newId,
      log,
      former: formerNode(config.dataFolder),
      remember: (id) => tellNode(config.dataFolder, id),
      met(others) {
        log.info({ others }, 'other nodes at work on this database')
        if (others.length === 0 || config.redis.url || warned) return
        warned = true
        log.warn(
          { others },
          'redis.url is not set: an open page does not see an answer grow that another node writes, and each node keeps rates for itself',
        )
      },
    }),
  )
  const leases = createLeases({ store: store.leases, node, clock, log })
  const { maxStored: all, maxStoredPerOwner: each } = config.resources
  const blobs = createQuota(createBlobs(store.place(join(config.dataFolder, 'files')), key.derive('files')), store.files, { all, each })
  const client = opened.use(security.createFetch())
  let guardedFetch = security.createGuardedFetch(config)
  const tokens = security.createTokens({ users: store.users, key, clock, newId })
  const metrics = createMetrics()
  const { observer } = metrics
  const pseudonym = security.createPseudonyms(key)
  const links = security.createLinks(key)
  const rabbit = config.broker.url
    ? await openRabbitBroker({
        url: config.broker.url,
        prefix: config.broker.prefix,
        prefetch: config.resources.maxConcurrency,
        clock,
        log,
        observer,
      })
    : undefined
  const broker = opened.use(rabbit ?? createEmbeddedBroker())
  const redis = config.redis.url
    ? opened.use(
        await openShared({ url: config.redis.url, prefix: config.redis.prefix, node: node.id, sealer, pseudonym, clock, log, observer }),
      )
    : undefined
  const live = redis?.live ?? createSingleLive(() => node.others.length > 0)
  const cache = createCache({ limit: config.resources.maxCache, shared: redis?.tier, sealer, pseudonym, clock, observer })
  const outside = new Map<OutsideName, Outside>()
  if (rabbit) outside.set('broker', rabbit)
  if (redis) outside.set('redis', redis)
  const models = createModels(config.models, { fetch: client.fetch, clock, log, observer })

  const accounts = createAccounts({
    state: store.accountState,
    leases,
    node,
    observer,
    platform: { fetch: client.fetch, connect: security.connect, crypto: security.platformCrypto },
    clock,
    log,
    publicUrl: config.server.publicUrl,
    receive: (account, message, lease) =>
      pipeline.receive(message, {
        account: account.id,
        channel: account.channel.id,
        priority: account.priority,
        ...(lease ? { lease } : {}),
      }),
  })
  let drained: Promise<void> | undefined
  let pauses = await pausesOf(store.settings)
  let opening = Promise.resolve()
  /** One after the other: an account that closes for one reason must not be opened for another in between. */
  const openAccounts = () => {
    opening = opening
      .catch(() => {})
      .then(() =>
        accounts.update([
          ...['web', 'api'].map((id) => ({
            id,
            channel: web,
            settings: {},
            capabilities: web.capabilities,
            allowedUsers: undefined,
            freshness: undefined,
            priority: priorities.interactive,
            rates: {},
          })),
          ...config.accounts.map((account) => ({ ...account, paused: pauses.since(account.id) !== undefined })),
        ]),
      )
    return opening
  }
  const pausedAccounts = () => config.accounts.flatMap(({ id }) => (pauses.since(id) === undefined ? [] : [id]))

  /** A command, or another node, may have paused an account or let it go on. */
  async function followPauses() {
    const was = pausedAccounts().join()
    pauses = await pausesOf(store.settings)
    const paused = pausedAccounts()
    if (paused.join() === was || drained) return
    log.warn({ paused }, paused.length > 0 ? PAUSED_NOW : 'no account is paused any more')
    await openAccounts()
  }

  const rates = redis?.rates ?? createLocalRates(clock)
  const usedBy = (account: string): Record<string, number> => {
    const { account: ofMessages, methods = {} } = accounts.find(account)?.rates ?? {}
    const used: Record<string, number> = ofMessages ? { messages: rates.used(account, undefined, ofMessages) } : {}
    for (const [method, { account: rate }] of Object.entries(methods)) if (rate) used[method] = rates.used(account, method, rate)
    return used
  }
  const mcp = opened.use(createMcp({ store: store.accountState, fetch: (url, options) => guardedFetch(url, options), clock, log, version }))
  const pipeline = createPipeline({
    store,
    blobs,
    models,
    tools: createTools(builtInTools(clock.now), { clock, log }, () => mcp.tools),
    accounts,
    live,
    cache,
    broker,
    rates,
    linkTo: (id, expires) => config.server.publicUrl && config.server.publicUrl + links.make(id, expires),
    observer,
    clock,
    newId,
    log,
    node,
    get assistant() {
      return config.assistant
    },
    get defaultModel() {
      return config.models.primary
    },
    limits: { waiting: config.resources.maxWaiting, lane: config.resources.maxWaitingPerConversation },
    concurrency: config.resources.maxConcurrency,
    get coalesce() {
      return config.assistant.coalesce
    },
  })

  const choice = {
    store,
    models,
    get defaultModel() {
      return config.models.primary
    },
  }
  const gateway: HttpGateway = {
    version,
    store,
    blobs,
    live,
    models,
    clock,
    newId,
    log,
    guards: {
      authorize: security.authorize,
      mayBePlatform: security.mayBePlatform,
      verifyWebhook: security.verifyWebhook,
      fetch: (url, options) => guardedFetch(url, options),
      verifyToken: tokens.verify,
      hashPassword: security.hashPassword,
      checkPassword: security.checkPassword,
      passwordRule: security.passwordRule,
      scopesOf: security.scopesOf,
      newSecret: security.newSecret,
      hashSecret: security.hashSecret,
      checkLink: (id, expires, signature) => links.check(id, expires, signature, clock.now()),
      pseudonym,
    },
    receive: (sent) => receiveSent(sent),
    takeOver: pipeline.takeOver,
    stop: pipeline.stop,
    inFlight: pipeline.inFlight,
    webhook: accounts.webhook,
    currentModel: () => chosenModel(choice, undefined),
    async switchModel(model) {
      if (!models.endpoints.some((endpoint) => endpoint.id === model)) throw new PosthouseError('invalid', `model: there is no "${model}"`)
      await switchEverywhere(choice, model)
      log.info({ model }, 'the model was switched')
    },
    async modelsView(): Promise<ModelsResponse> {
      return {
        current: await chosenModel(choice, undefined),
        models: models.endpoints.map(({ id, provider, vision }) => ({ id, provider, vision, demo: provider === 'demo' })),
      }
    },
    readiness,
    status,
    metrics: () => metrics.text({ read: readings }),
  }

  async function receiveSent(sent: SentMessage) {
    const files = await Promise.all(sent.files.map((id) => ownFile(id, sent)))
    if (sent.text.trim() === '' && files.length === 0) throw new PosthouseError('invalid', 'text: empty')
    const message = decodeWeb({ ...sent, files, now: clock.now() })
    const admission = await pipeline.receive(message, {
      account: sent.account,
      channel: 'web',
      conversationId: sent.conversationId,
      owner: sent.owner,
      clientId: sent.clientId,
      priority: sent.priority,
    })
    return { messageId: admission.messageId, conversationId: admission.conversationId, duplicate: admission.status === 'duplicate' }
  }

  /** The person's own file; one that was sent before may be sent again. */
  async function ownFile(id: string, { owner, conversationId }: SentMessage): Promise<FileRef> {
    const file = await store.files.find(id)
    const known = file && file.owner !== owner ? await store.conversations.find(file.owner) : undefined
    const own = file?.owner === owner || (known ? known.owner === owner : file?.owner === conversationId)
    if (!file || !own) throw new PosthouseError('invalid', `files: there is no file ${id}`)
    return { kind: file.kind, name: file.name, mime: file.mime, size: file.size, id }
  }

  async function readiness() {
    const problems: string[] = []
    await store.probe(config.nodeName).catch(() => problems.push('the database takes no writes'))
    if (!node.live) problems.push('the database could not be told for too long that this node is there; it begins nothing until then')
    if ((await freeRatio(config.dataFolder)) < LEAST_FREE) problems.push('the disk is almost full')
    const degraded = [...outside].flatMap(([server, { problem }]) => (problem === undefined ? [] : [{ server, problem }]))
    return { ready: problems.length === 0, problems, degraded }
  }

  async function status() {
    return {
      version,
      ...(await readiness()),
      channels: accounts.status(),
      models: { current: await chosenModel(choice, undefined), endpoints: models.status() },
      mcp: mcp.status,
      node: node.id,
      nodes: await store.nodes.list(),
      leases: await store.leases.list(),
      queue: { ...pipeline.depth, depth: await store.inbox.depth(), ...(await store.outbox.backlog()) },
      dead: await store.dead.count(),
    }
  }

  async function readings() {
    const now = clock.now()
    const [oldest, backlog, dead, free] = [
      await store.inbox.oldestPending(),
      await store.outbox.backlog(),
      await store.dead.count(),
      await freeRatio(config.dataFolder),
    ]
    const lag = (name: PriorityName) => now - (oldest.get(priorities[name]) ?? now)
    return {
      inboxLag: { interactive: lag('interactive'), normal: lag('normal'), background: lag('background') },
      outboxOldest: backlog.oldest === undefined ? 0 : now - backlog.oldest,
      outboxWaiting: backlog.count,
      lanes: pipeline.depth,
      dead,
      free,
      nodes: {
        alive: (await store.nodes.list()).filter(({ alive }) => alive).length,
        live: node.live,
        leases: leases.held.length,
      },
      outside: [...outside].map(([server, { problem }]) => ({ server, up: problem === undefined })),
      channels: accounts.status().map(({ id, state, lastReceived }) => ({
        account: id,
        up: state === 'standby' ? undefined : state === 'connected',
        age: lastReceived === undefined ? undefined : now - lastReceived,
        ratesUsed: usedBy(id),
      })),
    }
  }

  const http = opened.use(
    await startHttp(gateway, {
      host: config.server.host,
      port: config.server.port,
      publicUrl: config.server.publicUrl,
      trustedProxies: config.server.trustedProxies,
      maxFile: config.resources.maxFile,
      timeout: config.resources.timeout,
      requestsPerMinute: config.resources.requestsPerMinute,
      webFolder,
    }),
  )
  opened.use(tellAddress(config.dataFolder, http.url))
  if (config.discovery.url) {
    const { url: endpoint, prefix, advertise = `http://${hostname()}:${new URL(http.url).port}` } = config.discovery
    const announcement = { id: node.id, name: config.nodeName, url: advertise, version, started: clock.now() }
    outside.set('discovery', opened.use(announce(announcement, { endpoint, prefix, fetch: client.fetch, clock, log })))
  }
  opened.use(accounts)
  // Before any turn: who may write, and how old a message may be, stands in the accounts.
  await openAccounts()
  if (pausedAccounts().length > 0) log.warn({ paused: pausedAccounts() }, PAUSED_NOW)
  await mcp.update(config.mcp)
  await pipeline.start()
  const upkeep = keepUp({ store, blobs, leases, clock, log })
  opened.use(returnMemory({ clock, atWork: () => pipeline.depth.running + pipeline.depth.sending > 0 }))
  opened.use(
    clock.every(
      LOOK_AT_PAUSES,
      () => void followPauses().catch((error: unknown) => log.warn({ err: error }, 'which accounts are paused could not be read')),
    ),
  )
  opened.use(keepAccountsKnown({ state: store.accountState, node, name: config.nodeName, clock, status: accounts.status }))
  models.warmUp()

  let setupUrl: string | undefined
  if ((await store.users.count()) === 0) {
    const { secret, hash } = security.newSecret()
    await store.users.setLink(hash, clock.now() + SETUP_LIFETIME, node.others.length === 0)
    setupUrl = `${config.server.publicUrl ?? http.url}/#setup=${secret}`
  }

  const parts = opened.move()
  const drain = () => {
    drained ??= (async () => {
      http.retire()
      node.drain()
      // Another node takes over what is received, while this one still serves those who are here and sends what it has in hand.
      await Promise.all([accounts.rest(), upkeep.rest(), clock.sleep(config.server.drainDelay)])
      if (config.server.drainDelay > 0) {
        http.shut()
        await clock.sleep(SHUT)
      }
      http.drain()
      pipeline.rest()
      // What was asked here may be answered by another node.
      await Promise.all([pipeline.drain(GRACE), store.nodes.shared ? http.idle(GRACE) : undefined])
      await accounts[Symbol.asyncDispose]()
    })()
    return drained
  }
  return {
    url: http.url,
    setupUrl,
    get paused() {
      return pausedAccounts()
    },
    lost: lost.promise,
    async reconfigure(next) {
      const restart = (['server', 'nodeName', 'database', 'keyFile', 'broker', 'redis', 'discovery', 'resources'] as const).filter(
        (name) => JSON.stringify(next[name]) !== JSON.stringify(config[name]),
      )
      config = {
        ...next,
        server: config.server,
        nodeName: config.nodeName,
        database: config.database,
        dataFolder: config.dataFolder,
        keyFile: config.keyFile,
        broker: config.broker,
        redis: config.redis,
        discovery: config.discovery,
        resources: config.resources,
      }
      guardedFetch = security.createGuardedFetch(config)
      models.update(config.models)
      await openAccounts()
      // Last: a program that will not end is waited for.
      await mcp.update(config.mcp)
      return restart
    },
    drain,
    async [Symbol.asyncDispose]() {
      await drain()
      await parts[Symbol.asyncDispose]()
    },
  }
}
