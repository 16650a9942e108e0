/** `posthouse channel decode`: what a webhook call, a frame or a mail is understood as, without a database and without an effect. */
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import {
  errorTable,
  type Identity,
  isPosthouseError,
  type Known,
  type Reader,
  type Reading,
  type ShownMessage,
  showMessage,
  type WebhookRequest,
} from '@posthouse/contract'
import { mayBePlatform, platformCrypto, verifyWebhook } from '../security/index.ts'
import type { Call, Options } from './call.ts'
import { openLone } from './lone.ts'
import { CliError } from './terminal.ts'

/** As the gateway's own door. */
const MOST_BODY = 1024 * 1024
/** A mail may be larger than a call. */
const MOST_RAW = 64 * 1024 * 1024

export async function decodeUnits(call: Call, [type = '']: readonly string[], options: Options): Promise<void> {
  const { terminal } = call
  const { channel, settings } = openLone(call, type, options)
  const path = typeof options.requests === 'string' ? options.requests : ''
  if (path === '')
    throw new CliError(terminal.t({ en: '--requests FILE is needed.', zh: '需要 --requests 文件。' }), 2, 'posthouse channel decode --help')
  const reader = await channel.reader?.(settings)
  if (!reader)
    throw new CliError(terminal.t({ en: `${type}: this channel cannot be read apart.`, zh: `${type}：该渠道不支持单独解析。` }), 2)
  const us = identityIn(options.bot, terminal)
  const now = nowIn(options.now, terminal)
  let number = 0
  for await (const line of linesOf(path, terminal)) {
    number++
    if (line.trim() === '') continue
    const understood = await understand(reader, unitIn(line, `${path}:${number}`), { now, crypto: platformCrypto, ...(us ? { us } : {}) })
    process.stdout.write(`${JSON.stringify(understood)}\n`)
  }
}

async function* linesOf(path: string, { t }: Call['terminal']): AsyncGenerator<string> {
  const input = createReadStream(path)
  try {
    await once(input, 'open')
  } catch (error) {
    throw new CliError(
      t({ en: `${path}: there is no such file that can be read.`, zh: `${path}：文件不存在或无法读取。` }),
      2,
      undefined,
      error,
    )
  }
  yield* createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })
}

function identityIn(given: unknown, { t }: Call['terminal']): Identity | undefined {
  if (given === undefined) return undefined
  try {
    const { id, username, name } = JSON.parse(String(given)) as Record<string, unknown>
    return {
      id: String(id ?? ''),
      name: String(name ?? username ?? id ?? ''),
      ...(username === undefined ? {} : { username: String(username) }),
    }
  } catch {
    throw new CliError(
      t({
        en: `--bot: JSON is expected, such as '{"id":"42","username":"our_bot"}'.`,
        zh: `--bot：应为 JSON，例如 '{"id":"42","username":"our_bot"}'。`,
      }),
      2,
    )
  }
}

function nowIn(given: unknown, { t }: Call['terminal']): number {
  if (given === undefined) return Date.now()
  const seconds = Number(given)
  if (Number.isFinite(seconds)) return seconds * 1000
  throw new CliError(t({ en: '--now: seconds since 1970 are expected.', zh: '--now：应为 1970 年以来的秒数。' }), 2)
}

// ---- What comes in ----------------------------------------------------------------------------------------------------

type Unit =
  | { readonly kind: 'request'; readonly request: WebhookRequest }
  | { readonly kind: 'frame'; readonly frame: unknown }
  | { readonly kind: 'raw'; readonly raw: Uint8Array }

/** @throws CliError when the line is none of the forms. */
function unitIn(line: string, place: string): Unit {
  let given: Record<string, unknown>
  try {
    given = JSON.parse(line) as Record<string, unknown>
  } catch {
    throw new CliError(`${place}: not JSON / 不是 JSON`, 2)
  }
  if (typeof given === 'object' && given !== null) {
    if ('frame' in given) return { kind: 'frame', frame: given.frame }
    const raw = bytesIn(given)
    if (raw && given.method === undefined && given.headers === undefined) return { kind: 'raw', raw }
    const method = String(given.method ?? 'POST').toUpperCase()
    if (method === 'GET' || method === 'POST') {
      const request = { method, headers: namesIn(given.headers, true), query: queryIn(given.query), body: raw ?? new Uint8Array() } as const
      return { kind: 'request', request }
    }
  }
  throw new CliError(
    `${place}: {method, query?, headers, raw | raw_base64}, {frame} or {raw} is expected / 应为 {method, query?, headers, raw | raw_base64}、{frame} 或 {raw}`,
    2,
  )
}

function bytesIn({ raw, raw_base64: base64 }: Record<string, unknown>): Uint8Array | undefined {
  if (typeof base64 === 'string') return Buffer.from(base64, 'base64')
  if (typeof raw === 'string') return Buffer.from(raw)
  return raw === undefined ? undefined : Buffer.from(JSON.stringify(raw))
}

function queryIn(given: unknown): Record<string, string> {
  return typeof given === 'string' ? Object.fromEntries(new URLSearchParams(given)) : namesIn(given, false)
}

function namesIn(given: unknown, lower: boolean): Record<string, string> {
  if (typeof given !== 'object' || given === null) return {}
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [lower ? name.toLowerCase() : name, String(value)]))
}

// ---- What it is -------------------------------------------------------------------------------------------------------

type Verdict = 'accept' | 'ignore' | 'challenge' | 'reject'

/** One line of output. */
export interface Understood {
  readonly verdict: Verdict
  readonly status: number
  readonly response?: string
  readonly reason?: string
  readonly events: readonly ShownMessage[]
}

/** The same steps in the same order as the gateway's door and its sockets. */
export async function understand(reader: Reader, unit: Unit, known: Known): Promise<Understood> {
  try {
    if (unit.kind === 'request') return understandCall(reader, unit.request, known)
    if (unit.kind === 'frame') return reader.frame ? shown(reader.frame(unit.frame, known)) : rejected(404, 'this account has no socket')
    if (unit.raw.length > MOST_RAW) return rejected(413, 'too large')
    return reader.raw ? shown(await reader.raw(unit.raw, known)) : rejected(404, 'this channel reads calls or frames')
  } catch (error) {
    if (!isPosthouseError(error)) throw error
    return rejected(errorTable[error.code].status, error.detail ?? error.code)
  }
}

function understandCall(reader: Reader, request: WebhookRequest, known: Known): Understood {
  const { verification } = reader
  if (!reader.request) return rejected(404, 'this account has no webhook')
  if (request.body.length > MOST_BODY) return rejected(413, `a body has at most ${MOST_BODY} bytes`)
  // It comes from this machine, as far as that is a proof.
  const call = { ...request, peer: '127.0.0.1' }
  const proven = verification?.some((each) => mayBePlatform(each, call, known.now) && verifyWebhook(each, call, known.now)) ?? true
  if (proven) return shown(reader.request(request, known))
  const answer = reader.challenge?.(request, known)
  if (answer) return { verdict: 'challenge', status: answer.status, response: answer.body ?? '', events: [] }
  return rejected(401, verification?.length === 0 ? 'no secret is configured that could prove it' : 'its proof does not hold')
}

const rejected = (status: number, reason: string): Understood => ({ verdict: 'reject', status, reason, events: [] })

function shown({ messages, response, challenge, reason }: Reading): Understood {
  const forUs = messages.some(({ author }) => !author.isBot)
  return {
    verdict: challenge ? 'challenge' : forUs ? 'accept' : 'ignore',
    status: response?.status ?? 200,
    ...(response?.body === undefined ? {} : { response: response.body }),
    ...(reason === undefined ? (forUs || challenge || messages.length === 0 ? {} : { reason: 'written by a bot' }) : { reason }),
    events: messages.map(showMessage),
  }
}
