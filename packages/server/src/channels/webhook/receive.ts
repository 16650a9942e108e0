/** In: calls as the connector describes them. Pure; nothing here is trusted or kept. */
import {
  type FileKind,
  type FileRef,
  type InboundMessage,
  type Known,
  type Part,
  PosthouseError,
  parseCommand,
  type Reader,
  type Reading,
  type SignedPart,
  type WebhookRequest,
  type WebhookResponse,
  type WebhookVerification,
  type Where,
} from '@posthouse/contract'
import { compiled, type Evaluate, type Expressions, parseJson, type Scope, toJson } from './expressions.ts'
import { type ConnectorSettings, messageFields, type Proof, type Respond } from './settings.ts'

const MOST_MESSAGES = 100
const MOST_FILES = 30
const KINDS: readonly string[] = ['message', 'edit', 'delete', 'callback', 'reaction'] satisfies InboundMessage['kind'][]

/** Makes the reader; every expression is looked at now. @throws PosthouseError `invalid` when one is malformed */
export function createReader(settings: ConnectorSettings, expressions: Expressions): Reader {
  const { receive, values } = settings
  const { challenge } = receive
  const { when: only, messages: list } = receive
  const when = only === undefined ? () => true : compiled('receive.when', () => expressions.condition(only))
  const elements = list === undefined ? ({ body }: Scope) => [body] : compiled('receive.messages', () => expressions.value(list))
  const toMessage = createDecoder(receive.message, expressions)
  const respond = compiled('receive.respond', () => createRespond(receive.respond, expressions))
  const { when: question } = challenge
  const asks = question === undefined ? () => false : compiled('receive.challenge.when', () => expressions.condition(question))
  const answer = compiled('receive.challenge', () => createRespond(challenge, expressions))

  const read = (request: WebhookRequest, known: Known): Reading => {
    const scope = scopeOf(request, values)
    if (asks(scope)) return { messages: [], response: answer(scope), challenge: true }
    if (!when(scope)) return { messages: [], response: respond(scope), reason: 'receive.when does not hold' }
    const found = elements(scope)
    const all = found === undefined || found === null ? [] : Array.isArray(found) ? found : [found]
    if (all.length > MOST_MESSAGES) throw new PosthouseError('invalid', `more than ${MOST_MESSAGES} messages in one call`)
    const messages = all.map((message) => toMessage({ ...scope, message }, known))
    return { messages, response: respond(scope), ...(messages.length === 0 ? { reason: 'no message in it' } : {}) }
  }
  return {
    verification: verificationOf(receive.proof),
    request: read,
    ...(challenge.when !== undefined && !challenge.proven
      ? {
          challenge: (request) => {
            const scope = scopeOf(request, values)
            return asks(scope) ? answer(scope) : undefined
          },
        }
      : {}),
  }
}

/** What is not written down proves nothing. */
function verificationOf(proof: Proof): readonly WebhookVerification[] {
  const { kind, prefix, secret = '' } = proof
  if (kind === undefined) return []
  if (kind === 'loopback') return [{ kind }]
  if (kind === 'field') return [{ kind, name: proof.field ?? '', secret }]
  const at: Where = proof.query === undefined ? { header: proof.header ?? '' } : { query: proof.query }
  const before = prefix === undefined ? {} : { prefix }
  if (kind === 'token') return [{ kind, at, secret, ...before }]
  const timeAt: Where | undefined =
    proof.time_query === undefined
      ? proof.time_header === undefined
        ? undefined
        : { header: proof.time_header }
      : { query: proof.time_query }
  const shared = {
    at,
    encoding: proof.encoding,
    ...before,
    ...(proof.signed ? { signed: proof.signed.map(partOf) } : {}),
    ...(proof.sorted ? { sorted: true } : {}),
    ...(timeAt ? { time: { at: timeAt, unit: proof.time_unit, window: proof.time_window } } : {}),
  }
  if (kind === 'ed25519') return [{ kind, publicKey: proof.public_key ?? '', ...shared }]
  return [{ kind, algorithm: proof.algorithm, secret, secretEncoding: proof.secret_encoding, ...shared }]
}

/** @throws PosthouseError `invalid` */
function partOf(written: string): SignedPart {
  if (written === 'body' || written === 'secret') return written
  const [, kind, name = ''] = /^(header|query|field|text):([\s\S]*)$/.exec(written) ?? []
  if (kind === 'header') return { header: name }
  if (kind === 'query') return { query: name }
  if (kind === 'field') return { field: name }
  if (kind === 'text') return { text: name }
  throw new PosthouseError('invalid', `proof.signed: "${written}" is none of body, secret, header:NAME, query:NAME, field:NAME, text:WORDS`)
}

// ---- Bodies -----------------------------------------------------------------------------------------------------------

/** What expressions see of a call. @throws PosthouseError `invalid` when the body is none that can be read */
function scopeOf({ headers, query, body }: WebhookRequest, values: Readonly<Record<string, string>>): Scope {
  return { headers, query, values, body: body.length === 0 ? {} : bodyOf(headers['content-type'] ?? '', body) }
}

function bodyOf(type: string, bytes: Uint8Array): unknown {
  if (!/^application\/x-www-form-urlencoded\b/i.test(type)) return parseJson(bytes)
  const form = Object.fromEntries(new URLSearchParams(Buffer.from(bytes).toString('utf8')))
  // Platforms that post forms put their JSON into one field.
  return form.payload?.startsWith('{') ? { ...form, payload: parseJson(Buffer.from(form.payload)) } : form
}

export function createRespond({ status, json, text }: Respond, expressions: Expressions): (scope: Scope) => WebhookResponse {
  const data = json === undefined ? undefined : expressions.data(json)
  const words = text === undefined ? undefined : expressions.template(text)
  return (scope) => {
    if (data) return { status, headers: { 'content-type': 'application/json; charset=utf-8' }, body: toJson(data(scope)) }
    if (words) return { status, headers: { 'content-type': 'text/plain; charset=utf-8' }, body: words(scope) }
    return { status }
  }
}

// ---- Messages ---------------------------------------------------------------------------------------------------------

function createDecoder(fields: ConnectorSettings['receive']['message'], expressions: Expressions) {
  const evaluators = Object.fromEntries(
    messageFields.map((name) => {
      const source = fields[name]
      return [name, source === undefined ? () => undefined : compiled(`receive.message.${name}`, () => expressions.value(source))]
    }),
  ) as Record<(typeof messageFields)[number], Evaluate<unknown>>

  return (scope: Scope, { now, us }: Known): InboundMessage => {
    const text = (name: (typeof messageFields)[number]) => {
      const found = evaluators[name](scope)
      return found === undefined || found === null || typeof found === 'object' ? undefined : String(found)
    }
    const needed = (name: 'id' | 'room' | 'author') => {
      const found = text(name)
      if (found === undefined || found === '') throw new PosthouseError('invalid', `receive.message.${name}: nothing is there`)
      return found
    }
    const is = (name: (typeof messageFields)[number]) => evaluators[name](scope) === true
    const kind = (text('kind') ?? 'message') as InboundMessage['kind']
    if (!KINDS.includes(kind)) throw new PosthouseError('invalid', `receive.message.kind: "${kind}" is none of ${KINDS.join(', ')}`)
    const id = needed('id')
    const room = needed('room')
    const thread = text('thread')
    const title = text('room_title')
    const sentAt = timeOf(evaluators.sent_at(scope), now)
    const written = text('text') ?? ''
    const command = kind === 'message' ? parseCommand(written, us?.username) : undefined
    const isGroup = is('is_group')
    const callbackData = text('callback')
    const replyTo = text('reply_to')
    const name = text('author_name')
    const mentionsUs = is('mentions_us')
    const mentionsAll = is('mentions_all')
    return {
      kind,
      key: text('key') ?? (kind === 'message' ? `message:${room}:${id}` : `${kind}:${room}:${id}:${sentAt}`),
      id,
      place: { room, type: isGroup ? 'group' : 'direct', ...(thread ? { thread } : {}), ...(title ? { title } : {}) },
      author: { id: needed('author'), isBot: is('author_is_bot'), ...(name ? { name } : {}) },
      parts: [...(written === '' ? [] : [{ type: 'text', text: written } as const]), ...filesOf(evaluators.files(scope))],
      sentAt,
      addressed: !isGroup || mentionsUs || command !== undefined || is('addressed') || kind === 'callback',
      ...(mentionsUs ? { mentionsUs } : {}),
      ...(mentionsAll ? { mentionsAll } : {}),
      ...(replyTo ? { replyTo } : {}),
      ...(command ? { command } : {}),
      ...(callbackData === undefined ? {} : { callbackData }),
    }
  }
}

/** Seconds or milliseconds since 1970, or RFC 3339. */
function timeOf(found: unknown, now: number): number {
  if (found instanceof Date) return found.getTime()
  const number = typeof found === 'string' && found.trim() === '' ? Number.NaN : Number(found)
  const time = Number.isFinite(number) ? number * (Math.abs(number) < 1e11 ? 1000 : 1) : Date.parse(String(found))
  return Number.isFinite(time) ? Math.round(time) : now
}

function filesOf(found: unknown): readonly Part[] {
  if (!Array.isArray(found)) return []
  return found.slice(0, MOST_FILES).flatMap((entry): readonly Part[] => {
    const { url, name, mime, size } = (typeof entry === 'object' && entry !== null ? entry : {}) as Readonly<Record<string, unknown>>
    if (typeof url !== 'string') return []
    const type = typeof mime === 'string' ? mime : undefined
    const file: FileRef = {
      kind: kindOf(type),
      name: typeof name === 'string' && name !== '' ? name : (url.split(/[?#]/)[0]?.split('/').at(-1) ?? 'file'),
      ref: url,
      ...(type ? { mime: type } : {}),
      ...(Number.isSafeInteger(Number(size)) && size !== undefined && size !== null ? { size: Number(size) } : {}),
    }
    return [{ type: 'file', file }]
  })
}

function kindOf(mime = ''): FileKind {
  const major = mime.split('/')[0]
  return major === 'image' || major === 'audio' || major === 'video' ? major : 'file'
}
