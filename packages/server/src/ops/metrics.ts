/** Figures for Prometheus. The names are a table; docs/reference/metrics.md lists the same, a test compares them. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
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
  ['posthouse_inbox_lag_seconds', 'gauge', 'Age of the oldest message that waits for its turn', []],
  ['posthouse_outbox_oldest_seconds', 'gauge', 'Age of the oldest delivery that is not settled', []],
  ['posthouse_outbox_waiting', 'gauge', 'Deliveries that are not settled', []],
  ['posthouse_lanes', 'gauge', 'Lanes by state', ['state']],
  ['posthouse_dead_letters', 'gauge', 'Messages and deliveries that wait for an operator', []],
  ['posthouse_channel_up', 'gauge', '1 when the channel receives', ['account']],
  ['posthouse_channel_last_receive_age_seconds', 'gauge', 'Since the platform last gave a sign of life', ['account']],
  ['posthouse_database_free_ratio', 'gauge', 'Free part of the disk with the database', []],
] as const

type MetricName = (typeof metricTable)[number][0]

/** What is read when somebody asks. */
export interface Readings {
  read(): Promise<{
    readonly inboxLag: number
    readonly outboxOldest: number
    readonly outboxWaiting: number
    readonly lanes: { readonly waiting: number; readonly running: number }
    readonly dead: number
    readonly channels: readonly { readonly account: string; readonly up: boolean; readonly age: number | undefined }[]
    readonly free: number
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
  const ack = histogram('posthouse_webhook_ack_seconds')
  const admissions = counter('posthouse_admissions_total')
  const turns = histogram('posthouse_turn_seconds')
  const own = histogram('posthouse_own_share_seconds')
  const firstToken = histogram('posthouse_first_token_seconds')
  const calls = counter('posthouse_model_calls_total')
  const callSeconds = histogram('posthouse_model_call_seconds')
  const deliveries = counter('posthouse_deliveries_total')
  const deliverySeconds = histogram('posthouse_delivery_seconds')
  return {
    observer: {
      admitted({ channel, status, took }) {
        ack.observe({ channel }, took / 1000)
        admissions.inc({ channel, status })
      },
      turnEnded({ outcome, took, own: share, firstToken: first }) {
        turns.observe({ outcome }, took / 1000)
        own.observe(share / 1000)
        if (first !== undefined) firstToken.observe(first / 1000)
      },
      modelCalled({ endpoint, outcome, took }) {
        calls.inc({ endpoint, outcome })
        callSeconds.observe({ endpoint }, took / 1000)
      },
      delivered({ channel, result, took }) {
        deliveries.inc({ channel, result })
        if (result === 'sent') deliverySeconds.observe({ channel }, took / 1000)
      },
    },
    async text(readings) {
      const now = await readings.read()
      gauge('posthouse_inbox_lag_seconds').set(now.inboxLag / 1000)
      gauge('posthouse_outbox_oldest_seconds').set(now.outboxOldest / 1000)
      gauge('posthouse_outbox_waiting').set(now.outboxWaiting)
      gauge('posthouse_lanes').set({ state: 'waiting' }, now.lanes.waiting)
      gauge('posthouse_lanes').set({ state: 'running' }, now.lanes.running)
      gauge('posthouse_dead_letters').set(now.dead)
      gauge('posthouse_database_free_ratio').set(now.free)
      for (const { account, up, age } of now.channels) {
        gauge('posthouse_channel_up').set({ account }, up ? 1 : 0)
        if (age !== undefined) gauge('posthouse_channel_last_receive_age_seconds').set({ account }, age / 1000)
      }
      return { type: registry.contentType, text: await registry.metrics() }
    },
  }
}
