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
    demandKeys(name, sample)
    const { expect = {} } = sample
    const demand = (what: string, wanted: unknown, found: unknown) => {
      const problem = wanted === undefined ? undefined : missing(wanted, found, what)
      if (problem) throw new PosthouseError('invalid', `sample "${name}": ${problem}`)
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

/** Where what is wanted is not there; undefined when all of it is. What is there beyond it does not matter. */
function missing(wanted: unknown, found: unknown, at: string): string | undefined {
  const differs = `${at} should be ${toJson(wanted)}, and is ${toJson(found) || 'absent'}`
  if (typeof found === 'bigint' || typeof wanted === 'bigint') return String(wanted) === String(found) ? undefined : differs
  if (typeof wanted !== 'object' || wanted === null) return wanted === found ? undefined : differs
  if (typeof found !== 'object' || found === null) return differs
  if (Array.isArray(wanted) && (!Array.isArray(found) || wanted.length !== found.length)) return differs
  for (const [key, entry] of Object.entries(wanted)) {
    const problem = missing(entry, (found as Record<string, unknown>)[key], Array.isArray(wanted) ? `${at}[${key}]` : `${at}.${key}`)
    if (problem) return problem
  }
  return undefined
}

const KEYS: Readonly<Record<string, readonly string[]>> = {
  sample: ['name', 'call', 'send', 'expect'],
  call: ['method', 'headers', 'query', 'json', 'form', 'text'],
  send: ['text', 'room', 'thread', 'reply_to', 'is_group', 'event'],
  expect: ['status', 'response', 'events', 'requests'],
}

/** A misspelt key would be a sample that holds whatever comes. @throws PosthouseError `invalid` */
function demandKeys(name: string, sample: Sample): void {
  for (const [section, known] of Object.entries(KEYS)) {
    const given = section === 'sample' ? sample : (sample[section as keyof Sample] ?? {})
    const unknown = Object.keys(given).find((key) => !known.includes(key))
    if (unknown !== undefined)
      throw new PosthouseError('invalid', `sample "${name}": ${section}.${unknown}: unknown key; there are ${known.join(', ')}`)
  }
}
