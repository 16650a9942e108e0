/** A connector without code: any platform with a webhook, described in YAML (docs/guides/connectors.md). */
import {
  type Capabilities,
  type Channel,
  type ChannelHost,
  type Connection,
  DeliveryError,
  type FileRef,
  isPosthouseError,
  limited,
  PosthouseError,
  type Receipt,
  trackWork,
} from '@posthouse/contract'
import { createApi } from './api.ts'
import { loadExpressions } from './expressions.ts'
import { createReader } from './receive.ts'
import { playSamples } from './samples.ts'
import { createPlanner, createPlanners, EVENT, render } from './send.ts'
import { type ConnectorSettings, settings } from './settings.ts'

const DOWNLOAD = 50 * 1024 * 1024
const CALL_AGAIN = 5

/** What a connector does not say. */
const capabilities: Capabilities = {
  maxText: { limit: 4000, unit: 'code-points' },
  upload: {},
  download: DOWNLOAD,
  ownership: 'stateless',
  proactive: true,
  idempotentSend: false,
  ackDeadline: 10_000,
  retryWindow: 86_400_000,
  rates: { direct: { amount: 1, per: 1000 }, group: { amount: 1, per: 1000 } },
}

export const webhook: Channel<ConnectorSettings> = {
  id: 'webhook',
  settings,
  capabilities,
  capabilitiesOf: ({ send, retry_window: retryWindow, ack_deadline: ackDeadline }) => ({
    ...capabilities,
    maxText: { limit: send.max_text, unit: send.unit },
    idempotentSend: send.idempotent,
    retryWindow,
    ackDeadline,
    ...(send.reply_window === undefined ? {} : { replyWindow: send.reply_window }),
    ...(send.edit.path === undefined ? {} : { draftInterval: send.draft_interval }),
  }),
  async reader(given) {
    const expressions = await loadExpressions()
    // Whoever looks at how it reads wants to hear of every expression that is malformed.
    createPlanners(given, expressions)
    const { edit, typing, probe } = given.send
    for (const [name, request] of Object.entries({ edit, typing, probe })) createPlanner(`send.${name}`, request, given.send, expressions)
    return createReader(given, expressions)
  },
  async probe(given, { fetch }, signal) {
    try {
      const expressions = await loadExpressions()
      await playSamples(given, expressions)
      const planner = createPlanner('send.probe', given.send.probe, given.send, expressions)
      if (!planner || !given.base_url) return undefined
      const scope = { values: given.values }
      const { id, name } = await createApi(given.base_url, fetch).call(planner, planner.plan(scope), scope, signal)
      return { id: id || given.title, name: name || given.title }
    } catch (error) {
      if (isPosthouseError(error)) throw new DeliveryError('invalid', error.detail ?? error.code)
      throw error
    }
  },
  open: async (given, host) => await open(given, host),
}

async function open(given: ConnectorSettings, host: ChannelHost): Promise<Connection> {
  const expressions = await loadExpressions()
  const { send, values, base_url: base } = given
  const reader = createReader(given, expressions)
  const planners = createPlanners(given, expressions)
  const edit = createPlanner('send.edit', send.edit, send, expressions)
  const typing = createPlanner('send.typing', send.typing, send, expressions)
  const file = createPlanner('send.file', { ...send.file, path: '' }, send, expressions)
  const api = base === undefined ? undefined : createApi(base, host.fetch)
  const underWay = trackWork()
  const { closing, tracked } = underWay
  if (reader.verification?.length) {
    host.routes.webhook(reader, (request) => tracked(take(request)))
    host.report('starting', host.routes.url ? `waiting for the first call at ${host.routes.url}` : 'waiting for the first call')
  } else host.report('connected')

  const take: Parameters<ChannelHost['routes']['webhook']>[1] = async (request) => {
    if (closing.aborted) return { status: 503, headers: { 'retry-after': String(CALL_AGAIN) } }
    const { messages, response = { status: 200 } } = reader.request?.(request, { now: Date.now(), crypto: host.crypto }) ?? { messages: [] }
    host.received()
    // In their order, and all of them before the platform is answered.
    for (const each of messages) await host.receive(each)
    return response
  }

  return {
    render: (outbound) => render(outbound, given, planners),
    async send(piece, to, { signal }): Promise<Receipt> {
      if (signal.aborted) throw new DeliveryError('cancelled', 'stopped before it was sent')
      if (piece.file)
        throw new DeliveryError('invalid', 'this platform takes no files, and without server.public_url there is no link to one')
      const planner = piece.format.startsWith(EVENT) ? planners.events.get(piece.format.slice(EVENT.length)) : planners.message
      if (!api || !planner) throw new DeliveryError('invalid', 'this connector has no send.message and base_url')
      const { id } = await tracked(api.call(planner, piece.payload as never, { values, room: to.room, thread: to.thread }, signal))
      return { id, room: to.room }
    },
    ...(edit && api
      ? {
          async edit(receipt: Receipt, piece, { signal }) {
            if (signal.aborted) throw new DeliveryError('cancelled', 'stopped before it was sent')
            if (receipt.id === '') throw new DeliveryError('not-found', 'the platform gave no id of the message')
            const scope = { values, text: piece.text, room: receipt.room, message_id: receipt.id }
            await tracked(api.call(edit, edit.plan(scope), scope, signal))
            return receipt
          },
        }
      : {}),
    ...(typing && api
      ? {
          async typing(to, signal, about) {
            const scope = { values, room: to.room, thread: to.thread, message_id: about }
            await api.call(typing, typing.plan(scope), scope, signal).catch(() => undefined)
          },
        }
      : {}),
    async download({ ref = '' }: FileRef, limit: number, signal: AbortSignal) {
      if (!api) throw new PosthouseError('not-found', 'this connector has no base_url')
      const { status, headers, body } = await api.fetchFile(ref, file?.headers({ values }) ?? {}, signal)
      if (status !== 200) throw new DeliveryError(status === 404 ? 'not-found' : 'invalid', `the file was answered with ${status}`)
      if (Number(headers['content-length'] ?? 0) > limit) throw new PosthouseError('too-large', `more than ${limit} bytes`)
      return limited(body, limit)
    },
    [Symbol.asyncDispose]: underWay[Symbol.asyncDispose],
  } satisfies Connection
}
