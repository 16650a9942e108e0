/** Figures for Prometheus. The names are a table; docs/reference/metrics.md lists the same, a test compares them. */
import { type PriorityName, priorityNames } from '@posthouse/contract'
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { CacheTier } from '../ports/cache.ts'
import type { Observer } from '../ports/observer.ts'

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180]

/** Name, kind, help, labels. Labels are closed sets: never an id, never free text. */
export const metricTable = [
  ['posthouse_webhook_ack_seconds', 'histogram', 'From a decoded message to its durable acknowledgement', ['channel']],
  ['posthouse_admissions_total', 'counter', 'Messages by admission', ['channel', 'status']],
  ['posthouse_turn_seconds', 'histogram', 'A turn from its claim to its commit', ['outcome']],
  ['posthouse_own_share_seconds', 'histogram', 'What the gateway itself took of a turn, without the model', []],
  ['posthouse_first_token_seconds', 'histogram', 'From asking a model to its first sign of an answer', []],
  ['posthouse_model_calls_total', 'counter', 'Model calls by outcome', ['endpoint', 'outcome']],
  ['posthouse_model_call_seconds', 'histogram', 'Duration of model calls', ['endpoint']],
  ['posthouse_deliveries_total', 'counter', 'Attempts of deliveries by result', ['channel', 'result']],
  ['posthouse_delivery_seconds', 'histogram', 'Duration of attempts that were sent', ['channel']],
  ['posthouse_rate_wait_seconds', 'histogram', "How long calls wait for the platform's rate", ['channel', 'call']],
  [
    'posthouse_rate_skipped_total',
    'counter',
    "Calls of previews and signs of writing left out for the platform's rate",
    ['channel', 'call'],
  ],
  [
    'posthouse_rate_used_ratio',
    'gauge',
    "Part of an account's rate that this node has in use, by the platform's method",
    ['account', 'method'],
  ],
  [
    'posthouse_broker_tickets_total',
    'counter',
    'Tickets for RabbitMQ by result: confirmed, refused (handed on here), unconfirmed, foreign (read, not ours)',
    ['result'],
  ],
  [
    'posthouse_live_frames_total',
    'counter',
    'Live frames between nodes over Redis by result: sent, dropped, received, foreign',
    ['result'],
  ],
  [
    'posthouse_cache_total',
    'counter',
    'Looks into a tier of the cache by result: hit, joined (another was at work on it), miss, foreign (not ours), failed (not reached, too late, or not kept)',
    ['tier', 'result'],
  ],
  [
    'posthouse_cache_hit_ratio',
    'gauge',
    'Part of the looks into a tier since the start that found what they wanted; failed ones do not count',
    ['tier'],
  ],
  ['posthouse_outside_up', 'gauge', '1 when the broker, or Redis, answers; absent where none is configured', ['server']],
  ['posthouse_fenced_writes_total', 'counter', "What was refused because it is another node's by now: lease, turn, delivery", ['what']],
  ['posthouse_nodes_live', 'gauge', 'Gateways that are at work on this database', []],
  ['posthouse_node_live', 'gauge', '0 while this node could not reach the database for too long, and begins nothing', []],
  ['posthouse_leases_held', 'gauge', 'Leases that this node has', []],
  ['posthouse_inbox_lag_seconds', 'gauge', 'Age of the oldest message that waits for its turn', ['priority']],
  ['posthouse_outbox_oldest_seconds', 'gauge', 'Age of the oldest delivery that is not settled', []],
  ['posthouse_outbox_waiting', 'gauge', 'Deliveries that are not settled', []],
  ['posthouse_lanes', 'gauge', 'Lanes by state', ['state']],
  ['posthouse_dead_letters', 'gauge', 'Messages and deliveries that wait for an operator', []],
  ['posthouse_channel_up', 'gauge', '1 when the channel receives; absent where another node does', ['account']],
  ['posthouse_channel_last_receive_age_seconds', 'gauge', 'Since the platform last gave a sign of life', ['account']],
  ['posthouse_database_free_ratio', 'gauge', 'Free part of the disk with the database', []],
] as const

type MetricName = (typeof metricTable)[number][0]

/** What is read when somebody asks. */
export interface Readings {
  read(): Promise<{
    readonly inboxLag: Readonly<Record<PriorityName, number>>
    readonly outboxOldest: number
    readonly outboxWaiting: number
    readonly lanes: { readonly waiting: number; readonly running: number }
    readonly dead: number
    readonly channels: readonly {
      readonly account: string
      readonly up: boolean | undefined
      readonly age: number | undefined
      /** By method, of those that have a rate of the whole account. */
      readonly ratesUsed: Readonly<Record<string, number>>
    }[]
    readonly free: number
    readonly nodes: { readonly alive: number; readonly live: boolean; readonly leases: number }
    readonly outside: readonly { readonly server: string; readonly up: boolean }[]
  }>
}

export interface Metrics {
  readonly observer: Observer
  text(readings: Readings): Promise<{ readonly type: string; readonly text: string }>
}

export function createMetrics(): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const metrics = new Map<string, Counter | Gauge | Histogram>()
  for (const [name, kind, help, labels] of metricTable) {
    const options = { name, help, labelNames: [...labels], registers: [registry] }
    metrics.set(
      name,
      kind === 'counter' ? new Counter(options) : kind === 'gauge' ? new Gauge(options) : new Histogram({ ...options, buckets: SECONDS }),
    )
  }
  const histogram = (name: MetricName) => metrics.get(name) as Histogram
  const counter = (name: MetricName) => metrics.get(name) as Counter
  const gauge = (name: MetricName) => metrics.get(name) as Gauge
  const ack = byLabels((...of) => histogram('posthouse_webhook_ack_seconds').labels(...of))
  const admissions = byLabels((...of) => counter('posthouse_admissions_total').labels(...of))
  const turns = byLabels((...of) => histogram('posthouse_turn_seconds').labels(...of))
  const own = histogram('posthouse_own_share_seconds')
  const firstToken = histogram('posthouse_first_token_seconds')
  const calls = byLabels((...of) => counter('posthouse_model_calls_total').labels(...of))
  const callSeconds = byLabels((...of) => histogram('posthouse_model_call_seconds').labels(...of))
  const deliveries = byLabels((...of) => counter('posthouse_deliveries_total').labels(...of))
  const tickets = byLabels((...of) => counter('posthouse_broker_tickets_total').labels(...of))
  const frames = byLabels((...of) => counter('posthouse_live_frames_total').labels(...of))
  const cache = byLabels((...of) => counter('posthouse_cache_total').labels(...of))
  const looks = new Map<CacheTier, { all: number; found: number }>()
  const fenced = byLabels((...of) => counter('posthouse_fenced_writes_total').labels(...of))
  const waits = byLabels((...of) => histogram('posthouse_rate_wait_seconds').labels(...of))
  const skips = byLabels((...of) => counter('posthouse_rate_skipped_total').labels(...of))
  const deliverySeconds = byLabels((...of) => histogram('posthouse_delivery_seconds').labels(...of))
  return {
    observer: {
      admitted({ channel, status, took }) {
        ack(channel).observe(took / 1000)
        admissions(channel, status).inc()
      },
      turnEnded({ outcome, took, own: share, firstToken: first }) {
        turns(outcome).observe(took / 1000)
        own.observe(share / 1000)
        if (first !== undefined) firstToken.observe(first / 1000)
      },
      modelCalled({ endpoint, outcome, took }) {
        calls(endpoint, outcome).inc()
        callSeconds(endpoint).observe(took / 1000)
      },
      delivered({ channel, result, took }) {
        deliveries(channel, result).inc()
        if (result === 'sent') deliverySeconds(channel).observe(took / 1000)
      },
      rateWaited: ({ channel, call, wait }) => waits(channel, call).observe(wait / 1000),
      rateSkipped: ({ channel, call }) => skips(channel, call).inc(),
      fenced: ({ what }) => fenced(what).inc(),
      ticket: ({ result }) => tickets(result).inc(),
      frame: ({ result }) => frames(result).inc(),
      cached({ tier, result }) {
        cache(tier, result).inc()
        if (result === 'failed') return
        const seen = looks.get(tier) ?? { all: 0, found: 0 }
        looks.set(tier, seen)
        seen.all++
        if (result === 'hit' || result === 'joined') seen.found++
      },
    },
    async text(readings) {
      const now = await readings.read()
      for (const priority of priorityNames) gauge('posthouse_inbox_lag_seconds').set({ priority }, now.inboxLag[priority] / 1000)
      gauge('posthouse_outbox_oldest_seconds').set(now.outboxOldest / 1000)
      gauge('posthouse_outbox_waiting').set(now.outboxWaiting)
      gauge('posthouse_lanes').set({ state: 'waiting' }, now.lanes.waiting)
      gauge('posthouse_lanes').set({ state: 'running' }, now.lanes.running)
      gauge('posthouse_dead_letters').set(now.dead)
      gauge('posthouse_database_free_ratio').set(now.free)
      gauge('posthouse_nodes_live').set(now.nodes.alive)
      gauge('posthouse_node_live').set(now.nodes.live ? 1 : 0)
      gauge('posthouse_leases_held').set(now.nodes.leases)
      for (const [tier, { all, found }] of looks) gauge('posthouse_cache_hit_ratio').set({ tier }, found / all)
      for (const { server, up } of now.outside) gauge('posthouse_outside_up').set({ server }, up ? 1 : 0)
      for (const { account, up, age, ratesUsed } of now.channels) {
        for (const method in ratesUsed) gauge('posthouse_rate_used_ratio').set({ account, method }, ratesUsed[method] ?? 0)
        if (up === undefined) gauge('posthouse_channel_up').remove({ account })
        else gauge('posthouse_channel_up').set({ account }, up ? 1 : 0)
        if (age !== undefined) gauge('posthouse_channel_last_receive_age_seconds').set({ account }, age / 1000)
      }
      return { type: registry.contentType, text: await registry.metrics() }
    },
  }
}

/** Finds a figure by its labels once; labels are closed sets, so few are kept. */
function byLabels<T>(find: (...labels: string[]) => T): (...labels: string[]) => T {
  const found = new Map<string, T>()
  return (...labels) => {
    const key = labels.join(' ')
    const known = found.get(key)
    if (known !== undefined) return known
    const figure = find(...labels)
    found.set(key, figure)
    return figure
  }
}
