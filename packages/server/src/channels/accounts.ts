/**
 * The accounts that are open: each channel gets its host, its state is known, and it is judged by what it receives (P11).
 *
 * Sending is every node's; an account that is owned `single` is listened on by the one that has its lease. An account that cannot be opened is tried again for
 * ever; it never holds the others.
 */
import {
  type Admission,
  type Capabilities,
  type Channel,
  type ChannelHost,
  type Connection,
  type ConnectionState,
  type DeliveryError,
  type InboundMessage,
  type KeyValue,
  type Listener,
  type Logger,
  PosthouseError,
  type Priority,
  type RateLimits,
  type WebhookVerification,
} from '@posthouse/contract'
import { backoff } from '../base/backoff.ts'
import type { Clock } from '../base/clock.ts'
import type { Account, Accounts, Webhook } from '../ports/accounts.ts'
import { type Held, type Lease, type Leases, StaleLease } from '../ports/leases.ts'
import type { Node } from '../ports/node.ts'
import type { Observer } from '../ports/observer.ts'
import type { AccountStateStore } from '../ports/store.ts'
import type { AccountStatus } from './account-states.ts'
import { keepListening } from './listening.ts'

export interface AccountSettings {
  readonly id: string
  readonly channel: Channel
  readonly settings: Record<string, unknown>
  readonly capabilities: Capabilities
  readonly allowedUsers: ReadonlySet<string> | undefined
  readonly freshness: number | undefined
  readonly priority: Priority
  readonly rates: RateLimits
  /** Known, and not opened: nothing is received or sent. */
  readonly paused?: boolean
}

export interface OpenAccounts extends Accounts, AsyncDisposable {
  /** Opens what is new, closes what is gone, reopens what changed. */
  update(accounts: readonly AccountSettings[]): Promise<void>
  /** @throws PosthouseError `unavailable` while the account is paused or not open yet: the platform is to come again. */
  webhook(id: string): Webhook | undefined
  /** Asks for nothing any more, and gives the leases back; webhooks and sending go on until it is disposed. */
  rest(): Promise<void>
  status(): readonly AccountStatus[]
}

interface Open {
  config: AccountSettings
  readonly abort: AbortController
  /** Fires earlier: nothing is received any more. */
  readonly deaf: AbortController
  connection: Connection | undefined
  webhook: Webhook | undefined
  state: ConnectionState | 'paused'
  problem: string | undefined
  lastReceived: number | undefined
  /** We have the lease of an account that is owned `single`. */
  held: boolean
  opening: Promise<void>
  listening: Promise<void>
}

const OPEN_AGAIN = { first: 1000, most: 60_000 }
/** Silence after which the platform is asked whether we are still known. */
const SILENCE = 60_000
const PROBE_TIMEOUT = 15_000
const CLOSE_TIMEOUT = 10_000
/** A platform that calls an account which is not open comes again after this. */
const NOT_OPEN = 10_000
/** The next node waits for it. */
const REST_TIMEOUT = 2500

export function createAccounts(parts: {
  readonly state: AccountStateStore
  readonly leases: Leases
  readonly node: Pick<Node, 'live'>
  readonly observer: Pick<Observer, 'fenced'>
  /** What channels reach their platforms with. */
  readonly platform: Pick<ChannelHost, 'fetch' | 'connect' | 'crypto'>
  readonly clock: Clock
  readonly log: Logger & { child(fields: object): Logger }
  readonly publicUrl: string | undefined
  receive(account: AccountSettings, message: InboundMessage, lease?: Lease): Promise<Admission>
}): OpenAccounts {
  const { state, leases, node, observer, platform, clock, log, publicUrl } = parts
  const open = new Map<string, Open>()

  const start = (config: AccountSettings): Open => {
    const entry: Open = {
      config,
      abort: new AbortController(),
      deaf: new AbortController(),
      connection: undefined,
      webhook: undefined,
      state: config.paused ? 'paused' : 'starting',
      problem: undefined,
      lastReceived: undefined,
      held: false,
      opening: Promise.resolve(),
      listening: Promise.resolve(),
    }
    if (!config.paused) entry.opening = keepOpening(entry)
    return entry
  }

  const keepOpening = async (entry: Open) => {
    const { config, abort } = entry
    for (let attempt = 1; !abort.signal.aborted; attempt++) {
      try {
        const connection = await config.channel.open(config.settings, hostOf(entry), abort.signal)
        if (abort.signal.aborted) await connection[Symbol.asyncDispose]()
        else {
          entry.connection = connection
          entry.listening = listen(entry, connection)
        }
        return
      } catch (error) {
        if (abort.signal.aborted) return
        report(entry, 'degraded', (error as Error).message)
        log.error({ err: error, account: config.id }, 'an account could not be opened; it is tried again')
        await clock.sleep(backoff(attempt, OPEN_AGAIN), abort.signal)
      }
    }
  }

  const listen = async (entry: Open, connection: Connection) => {
    const { config, deaf } = entry
    if (!connection.listen) return
    const listenAs = (host: Listener, signal: AbortSignal) =>
      keepListening(
        {
          channel: config.channel,
          connection,
          host,
          clock,
          heard: () => entry.lastReceived,
          report: (next, problem) => report(entry, next, problem),
        },
        signal,
      )
    if (config.capabilities.ownership !== 'single')
      return await listenAs(
        { receive: (message) => parts.receive(entry.config, message), received: () => heard(entry), state: stateOf(config.id) },
        deaf.signal,
      )
    await leases.keep(
      `account:${config.id}`,
      deaf.signal,
      async (held, signal) => {
        const lost = new AbortController()
        entry.held = true
        try {
          await listenAs(listenerOf(entry, held, lost), AbortSignal.any([signal, lost.signal]))
        } finally {
          entry.held = false
        }
      },
      // Webhooks come to every node.
      () => report(entry, entry.webhook ? 'connected' : 'standby'),
    )
  }

  /** What is done through it is done in the name of the lease; what is refused for that ends the listening. */
  const listenerOf = (entry: Open, { lease, demand }: Held, lost: AbortController): Listener => {
    const { id } = entry.config
    const inName = async <T>(work: () => Promise<T>): Promise<T> => {
      try {
        demand()
        return await work()
      } catch (error) {
        if (error instanceof StaleLease) {
          observer.fenced({ what: 'lease' })
          lost.abort()
        }
        throw error
      }
    }
    return {
      // Who slept hears of it before the next call.
      received() {
        void inName(async () => heard(entry)).catch(() => {})
      },
      receive: (message) => inName(() => parts.receive(entry.config, message, lease)),
      state: {
        ...stateOf(id),
        set: (key, value) => inName(() => state.set(id, key, value, lease)),
        swap: (key, before, value) => inName(() => state.swap(id, key, before, value, lease)),
      },
    }
  }

  const stateOf = (account: string): KeyValue => ({
    get: (key) => state.get(account, key),
    set: (key, value) => state.set(account, key, value),
    swap: (key, before, value) => state.swap(account, key, before, value),
  })

  const hostOf = (entry: Open): ChannelHost => {
    const { config } = entry
    const account = config.id
    return {
      account,
      ...platform,
      log: log.child({ account }),
      state: stateOf(account),
      routes: {
        url: publicUrl && `${publicUrl}/api/webhook/${account}`,
        webhook({ verification = [], challenge }, handle) {
          if (verification.length === 0 || verification.some(isEmpty)) throw new PosthouseError('invalid', 'a webhook needs a secret')
          // A proxy on this machine that adds no header of its own looks like a program here, and would let everybody in.
          if (publicUrl && verification.some(({ kind }) => kind === 'loopback'))
            throw new PosthouseError(
              'invalid',
              'server.public_url is set, so a caller on this machine may be a proxy: give this webhook a secret in place of proof "loopback"',
            )
          entry.webhook = {
            verification,
            ...(challenge ? { challenge: (request) => challenge(request, { now: clock.now(), crypto: platform.crypto }) } : {}),
            handle: async (request) => {
              const response = await handle(request)
              if (response.status < 300) entry.lastReceived = clock.now()
              return response
            },
          }
        },
      },
      receive: (message) => parts.receive(entry.config, message),
      received: () => heard(entry),
      report: (next, problem) => report(entry, next, problem),
    }
  }

  const heard = (entry: Open) => {
    entry.lastReceived = clock.now()
    if (entry.state !== 'connected') report(entry, 'connected')
  }

  const report = (entry: Open, next: ConnectionState, problem?: string) => {
    if (entry.state !== next || entry.problem !== problem) {
      const fields = { account: entry.config.id, state: next, was: entry.state, ...(problem ? { problem } : {}) }
      if (next === 'connected' || next === 'starting' || next === 'standby') log.info(fields, 'channel state')
      else log.warn(fields, 'channel state')
    }
    entry.state = next
    entry.problem = problem
  }

  /** Waits for it, but not for ever. */
  const within = async (ms: number, work: Promise<unknown>) => {
    const late = new AbortController()
    await Promise.race([
      work.catch((error: unknown) => log.warn({ err: error }, 'an account did not close cleanly')),
      clock.sleep(ms, late.signal),
    ])
    late.abort()
  }

  const rest = async (entry: Open) => {
    entry.deaf.abort()
    await within(REST_TIMEOUT, entry.listening)
  }

  const close = async (entry: Open) => {
    entry.abort.abort()
    entry.webhook = undefined
    await rest(entry)
    await within(
      CLOSE_TIMEOUT,
      entry.opening.then(() => entry.connection?.[Symbol.asyncDispose]()),
    )
    entry.connection = undefined
  }

  /** A channel that hears nothing may be deaf: it is asked. */
  const probe = async (entry: Open) => {
    if (!entry.connection || clock.now() - (entry.lastReceived ?? 0) < SILENCE) return
    // Each question would be one more refused sign-in, for which some platforms lock accounts; the channel itself tries, and less often.
    if (entry.state === 'needs-auth' || entry.state === 'standby') return
    try {
      const us = await entry.config.channel.probe(entry.config.settings, platform, AbortSignal.timeout(PROBE_TIMEOUT))
      if (!us) return
      entry.lastReceived = clock.now()
      if (entry.state === 'degraded' || entry.state === 'starting') report(entry, 'connected')
    } catch (error) {
      if (entry.abort.signal.aborted) return
      const { kind, message } = error as DeliveryError
      report(entry, kind === 'auth' ? 'needs-auth' : kind === 'conflict' ? 'conflict' : 'degraded', message)
    }
  }
  const probing = clock.every(SILENCE / 2, () => {
    for (const entry of open.values()) void probe(entry)
  })

  return {
    find(id): Account | undefined {
      const entry = open.get(id)
      if (!entry) return undefined
      const { config, connection } = entry
      return {
        id,
        channel: config.channel.id,
        capabilities: config.capabilities,
        allowedUsers: config.allowedUsers,
        freshness: config.freshness,
        rates: config.rates,
        // A node that may be taken for dead calls no platform.
        connection: node.live ? connection : undefined,
        elsewhere: config.capabilities.sendsOverConnection === true && !entry.held,
      }
    },
    async update(accounts) {
      const wanted = new Map(accounts.map((account) => [account.id, account]))
      for (const [id, entry] of open) {
        const next = wanted.get(id)
        const alike = next?.channel === entry.config.channel && next.paused === entry.config.paused
        if (next && alike && same(next.settings, entry.config.settings)) entry.config = next
        else {
          await close(entry)
          open.delete(id)
        }
      }
      for (const [id, config] of wanted) if (!open.has(id)) open.set(id, start(config))
    },
    webhook(id) {
      const entry = open.get(id)
      if (entry && !entry.connection) throw new PosthouseError('unavailable', 'this account is not open', { retryAfter: NOT_OPEN })
      return entry?.webhook
    },
    async rest() {
      await Promise.all([...open.values()].map(rest))
    },
    status: () =>
      [...open.values()].map(({ config, state: current, problem, lastReceived }) => ({
        id: config.id,
        channel: config.channel.id,
        state: current,
        problem,
        lastReceived,
      })),
    async [Symbol.asyncDispose]() {
      probing[Symbol.dispose]()
      await Promise.all([...open.values()].map(close))
      open.clear()
    },
  }
}

function isEmpty(verification: WebhookVerification): boolean {
  if (verification.kind === 'loopback') return false
  return (verification.kind === 'ed25519' ? verification.publicKey : verification.secret) === ''
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
