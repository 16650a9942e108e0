/** Examples inside of a connector, played without a network: what a call is understood as, and what a message would be sent as. */
import { type OutboundMessage, PosthouseError, showMessage, type WebhookRequest } from '@posthouse/contract'
import type { Expressions } from './expressions.ts'
import { toJson } from './expressions.ts'
import { createReader } from './receive.ts'
import { createPlanners, render } from './send.ts'
import type { ConnectorSettings } from './settings.ts'

interface Sample {
  readonly name?: string
  readonly call?: {
    readonly method?: string
    readonly headers?: Record<string, string>
    readonly query?: Record<string, string>
    readonly json?: unknown
    readonly form?: Record<string, string>
    readonly text?: string
  }
  readonly send?: {
    readonly text?: string
    readonly room?: string
    readonly thread?: string
    readonly reply_to?: string
    readonly is_group?: boolean
    readonly event?: NonNullable<OutboundMessage['event']>
  }
  readonly expect?: {
    readonly status?: number
    readonly response?: unknown
    readonly events?: readonly unknown[]
    readonly requests?: readonly unknown[]
  }
}

const NOW = Date.UTC(2026, 0, 1)

/** Plays all of them; answers how many there were. @throws PosthouseError `invalid` that names the first that does not hold, and how */
export async function playSamples(settings: ConnectorSettings, expressions: Expressions): Promise<number> {
  const reader = createReader(settings, expressions)
  const planners = createPlanners(settings, expressions)
  const samples = (Array.isArray(settings.samples) ? settings.samples : []) as readonly Sample[]
  for (const [index, sample] of samples.entries()) {
    const name = sample.name ?? String(index + 1)
    const { expect = {} } = sample
    const demand = (what: string, wanted: unknown, found: unknown) => {
      if (wanted !== undefined && !holds(wanted, found))
        throw new PosthouseError('invalid', `sample "${name}": ${what} should be ${toJson(wanted)}, and is ${toJson(found)}`)
    }
    if (sample.call) {
      const read = reader.request?.(requestOf(sample.call), { now: NOW, crypto: noCrypto })
      demand('status', expect.status, read?.response?.status ?? 200)
      demand('response', expect.response, bodyOf(read?.response?.body))
      demand('events', expect.events, read?.messages.map(showMessage))
    }
    if (sample.send)
      demand(
        'requests',
        expect.requests,
        render(outbound(sample.send), settings, planners).map(({ payload }) => payload),
      )
  }
  return samples.length
}

/** A connector opens no envelopes. */
const refuse = (): never => {
  throw new PosthouseError('invalid', 'a connector knows no encryption')
}
const noCrypto = { decrypt: refuse, encrypt: refuse, hmac: refuse }

function requestOf({ method, headers = {}, query = {}, json, form, text }: NonNullable<Sample['call']>): WebhookRequest {
  const type = form ? 'application/x-www-form-urlencoded' : 'application/json'
  const body = json === undefined ? (form ? new URLSearchParams(form).toString() : (text ?? '')) : toJson(json)
  return {
    method: method === 'GET' ? 'GET' : 'POST',
    headers: {
      'content-type': type,
      ...Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)])),
    },
    query,
    body: Buffer.from(body),
  }
}

function outbound({
  text = '',
  room = 'room',
  thread,
  reply_to: replyTo,
  is_group: isGroup,
  event,
}: NonNullable<Sample['send']>): OutboundMessage {
  return {
    id: 'sample',
    to: { room, type: isGroup ? 'group' : 'direct', ...(thread === undefined ? {} : { thread }) },
    text,
    document: [{ type: 'paragraph', children: [{ type: 'text', text }] }],
    ...(replyTo === undefined ? {} : { replyTo }),
    ...(event === undefined ? {} : { event }),
  }
}

function bodyOf(body: string | undefined): unknown {
  try {
    return JSON.parse(body ?? '')
  } catch {
    return body
  }
}

/** Whether all that is wanted is there; what is there beyond it does not matter. */
function holds(wanted: unknown, found: unknown): boolean {
  if (typeof found === 'bigint' || typeof wanted === 'bigint') return String(wanted) === String(found)
  if (typeof wanted !== 'object' || wanted === null) return wanted === found
  if (Array.isArray(wanted))
    return Array.isArray(found) && wanted.length === found.length && wanted.every((entry, index) => holds(entry, found[index]))
  return (
    typeof found === 'object' &&
    found !== null &&
    Object.entries(wanted).every(([key, entry]) => holds(entry, (found as Record<string, unknown>)[key]))
  )
}
