/** Pigeon: identity, settings, lifecycle. Name the platform's documentation here. */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  anyChannel,
  type Capabilities,
  type Channel,
  type ChannelHost,
  type Connection,
  DeliveryError,
  definePlugin,
  isPosthouseError,
  type Schema,
  trackWork,
} from '@posthouse/contract'
import { createApi } from './api.ts'
import { createReader } from './receive.ts'
import { MAX_TEXT, render, send } from './send.ts'

export interface PigeonSettings {
  readonly token: string
  readonly secret: string
  readonly base_url: string
  readonly allowed_users?: readonly string[]
}

const settings: Schema<PigeonSettings> = {
  required: ['token', 'secret'],
  fields: {
    token: { type: 'string', format: 'secret', description: { en: 'Our token at Pigeon.', zh: '我们在 Pigeon 的令牌。' } },
    secret: {
      type: 'string',
      format: 'secret',
      description: { en: 'What Pigeon sends with every call.', zh: 'Pigeon 每次调用时携带的密钥。' },
    },
    base_url: {
      type: 'string',
      format: 'url',
      default: 'https://pigeon.example.com',
      description: { en: 'Address of the API.', zh: 'API 地址。' },
    },
    allowed_users: {
      type: 'array',
      items: { type: 'id' },
      description: { en: 'Ids of the people who may write.', zh: '允许使用者的 ID。' },
    },
  },
}

/** Take every figure from the platform's documentation, and name the page. */
const capabilities: Capabilities = {
  maxText: { limit: MAX_TEXT, unit: 'code-points' },
  upload: {},
  download: 0,
  ownership: 'stateless',
  proactive: true,
  idempotentSend: false,
  ackDeadline: 3000,
  retryWindow: 3_600_000,
  rates: { direct: { amount: 1, per: 1000 }, group: { amount: 1, per: 1000 } },
}

export const pigeon: Channel<PigeonSettings> = {
  id: 'pigeon',
  settings,
  capabilities,
  setbacks: { auth: { remedy: 'Pigeon refuses the token; get a new one' } },
  reader: createReader,
  probe: async ({ base_url, token }, { fetch }, signal) => await createApi(base_url, token, fetch).whoAmI(signal),
  open: async (given, host) => open(given, host),
}

function open(given: PigeonSettings, host: ChannelHost): Connection {
  const api = createApi(given.base_url, given.token, host.fetch)
  const reader = createReader(given)
  const underWay = trackWork()
  const { closing, tracked } = underWay
  host.routes.webhook(reader, (request) =>
    tracked(
      (async () => {
        if (closing.aborted) return { status: 503, headers: { 'retry-after': '5' } }
        const reading = reader.request?.(request, { now: Date.now(), crypto: host.crypto })
        host.received()
        try {
          // The answer is the acknowledgement: it must not go out before all is committed.
          for (const message of reading?.messages ?? []) await host.receive(message)
        } catch (error) {
          if (isPosthouseError(error)) return { status: 503, headers: { 'retry-after': '5' } }
          throw error
        }
        return reading?.response ?? { status: 200 }
      })(),
    ),
  )
  return {
    /** Looks from time to time whether we are still known; a webhook alone would be green for ever. */
    async listen(listener, signal) {
      while (!signal.aborted) {
        await api.whoAmI(signal)
        listener.received()
        host.report('connected')
        await sleep(LOOK_AGAIN, undefined, { signal }).catch(() => undefined)
      }
    },
    render,
    send: (piece, to, { signal }) => {
      if (signal.aborted) return Promise.reject(new DeliveryError('cancelled', 'stopped before it was sent'))
      return tracked(send(api, piece, to, signal))
    },
    [Symbol.asyncDispose]: underWay[Symbol.asyncDispose],
  }
}

const LOOK_AGAIN = 300_000

export const plugin = definePlugin({
  id: 'pigeon',
  version: '0.1.0',
  engine: 1,
  setup: (host) => host.channel(anyChannel(pigeon)),
})
