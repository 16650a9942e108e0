/** Out: Markdown to the connector's markup, each piece one request made of its templates, and what an answer means. */
import {
  type Block,
  DeliveryError,
  type DeliveryFailure,
  type Dialect,
  deliveryFailures,
  FetchError,
  type FetchResponse,
  measure,
  type OutboundMessage,
  type Piece,
  PosthouseError,
  plainText,
  splitDocument,
  withLinks,
  writeMarkup,
} from '@posthouse/contract'
import type { Expressions, Scope } from './expressions.ts'
import { compiled, parseJson, toJson } from './expressions.ts'
import type { ConnectorSettings, Failure, RequestTemplate, Send } from './settings.ts'

/** A request, ready to be made; without the headers, which carry what is secret. */
export interface PlannedRequest {
  readonly method: RequestTemplate['method']
  readonly path: string
  readonly json?: unknown
  readonly form?: Readonly<Record<string, string>>
  readonly text?: string
}

/** A template that was looked at. */
export interface Planner {
  plan(scope: Scope): PlannedRequest
  headers(scope: Scope): Readonly<Record<string, string>>
  /** What the answer means: its id and name, or why it is none. @throws DeliveryError */
  judge(answer: Answer): { readonly id: string; readonly name: string }
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: unknown
}

/** @throws PosthouseError `invalid` when a template is malformed; it names the key of the request */
export function createPlanner(key: string, request: RequestTemplate, shared: Send, expressions: Expressions): Planner | undefined {
  return compiled(key, () => plannerOf(request, shared, expressions))
}

function plannerOf(request: RequestTemplate, { headers: shared = {}, failures }: Send, expressions: Expressions): Planner | undefined {
  const { path } = request
  if (path === undefined) return undefined
  const written = expressions.template(path, 'url')
  const headers = Object.entries({ ...shared, ...request.headers }).map(
    ([name, value]) => [name.toLowerCase(), expressions.template(value, 'line')] as const,
  )
  const json = request.json === undefined ? undefined : expressions.data(request.json)
  const form = request.form && Object.entries(request.form).map(([name, value]) => [name, expressions.template(value)] as const)
  const text = request.text === undefined ? undefined : expressions.template(request.text)
  const ok =
    request.ok === undefined ? ({ status }: Scope) => Number(status) >= 200 && Number(status) < 300 : expressions.condition(request.ok)
  const id = expressions.text(request.id ?? 'body.id')
  const name = expressions.text(request.name ?? 'body.name')
  const known = createFailures(failures, expressions)
  return {
    plan: (scope) => ({
      method: request.method,
      path: written(scope),
      ...(json ? { json: json(scope) } : {}),
      ...(form ? { form: Object.fromEntries(form.map(([key, value]) => [key, value(scope)])) } : {}),
      ...(text ? { text: text(scope) } : {}),
    }),
    headers: (scope) => Object.fromEntries(headers.map(([key, value]) => [key, value(scope)])),
    judge(answer) {
      const scope = { ...answer, status: BigInt(answer.status) }
      if (!ok(scope)) throw known(scope, answer)
      return { id: id(scope) ?? '', name: name(scope) ?? '' }
    },
  }
}

// ---- Rendering --------------------------------------------------------------------------------------------------------

/** CommonMark as most platforms read it. */
const markdown: Dialect = {
  text: (text) => text.replace(/[\\`*_~[\]<>#|]/g, '\\$&').replace(/^(\s*)([-+]|\d+\.)(?=\s)/gm, '$1\\$2'),
  strong: (inner) => `**${inner}**`,
  emphasis: (inner) => `*${inner}*`,
  strike: (inner) => `~~${inner}~~`,
  code: (text) => {
    const fence = '`'.repeat(Math.max(0, ...(text.match(/`+/g) ?? []).map((run) => run.length)) + 1)
    return text.startsWith('`') || text.endsWith('`') ? `${fence} ${text} ${fence}` : `${fence}${text}${fence}`
  },
  link: (inner, href) =>
    /^https?:\/\/\S+$/i.test(href)
      ? `[${inner}](${href
          .replace(/[()<>\\]/g, encodeURIComponent)
          .replaceAll('(', '%28')
          .replaceAll(')', '%29')})`
      : undefined,
  heading: (inner, level) => `${'#'.repeat(level)} ${inner.replaceAll('\n', ' ')}`,
  fence: (text, language) => {
    const fence = '`'.repeat(Math.max(2, ...(text.match(/`+/g) ?? []).map((run) => run.length)) + 1)
    return `${fence}${/^[\w+#.-]*$/.test(language) ? language : ''}\n${text}\n${fence}`
  },
  quote: (inner) => inner.replace(/^/gm, '> '),
  bullet: '- ',
  rule: '---',
}

/** Stands before the type in the format of a piece. */
export const EVENT = 'event '

/** What a connector writes with: for messages, and for the events that it knows. */
export interface Planners {
  readonly message: Planner | undefined
  readonly events: ReadonlyMap<string, Planner>
}

/** @throws PosthouseError `invalid` when a template is malformed */
export function createPlanners({ send, events }: ConnectorSettings, expressions: Expressions): Planners {
  const known = Object.entries(typeof events === 'object' && events !== null ? events : {}).flatMap(([type, request]) => {
    const planner = createPlanner(`events.${type}`, { ...request, method: request.method ?? 'POST' }, send, expressions)
    return planner ? [[type, planner] as const] : []
  })
  return { message: createPlanner('send.message', send.message, send, expressions), events: new Map(known) }
}

/** The pieces of a message: its text in as many as it takes, or its event where the connector knows that. Files go as links. */
export function render(message: OutboundMessage, { send, values }: ConnectorSettings, planners: Planners): readonly Piece[] {
  const { event } = message
  const events = event && planners.events.get(event.event_type)
  if (event && events) {
    const request = events.plan({ ...event, text: message.text, values, ...placeOf(message), key: `${message.id}:0` })
    return [{ text: message.text, format: EVENT + event.event_type, payload: { ...request } }]
  }
  const { document, files = [] } = withLinks(message, () => false)
  const write = (blocks: readonly Block[]) => (send.markup === 'plain' ? plainText(blocks) : writeMarkup(blocks, markdown))
  const fits = (blocks: readonly Block[]) => measure(write(blocks), send.unit) <= send.max_text
  const texts = splitDocument(document, fits).map((part) => ({ text: plainText(part), written: write(part) }))
  const pieces: Piece[] = []
  for (const { text, written } of texts) {
    if (/^[\s\p{Cc}\p{Cf}]*$/u.test(text)) continue
    const index = pieces.length
    const scope = {
      text: written,
      values,
      ...placeOf(message),
      reply_to: index === 0 ? message.replyTo : undefined,
      key: `${message.id}:${index}`,
    }
    const request = planners.message?.plan(scope)
    pieces.push({ text: written, format: send.markup, payload: request ? { ...request } : { text: written } })
  }
  for (const file of files) pieces.push({ text: file.name, format: 'file', payload: {}, file })
  return pieces
}

const placeOf = ({ to: { room, thread, type } }: OutboundMessage) => ({ room, thread, is_group: type === 'group' })

// ---- Answers ----------------------------------------------------------------------------------------------------------

/** @throws FetchError when it breaks off. */
export async function answerOf(response: FetchResponse): Promise<Answer> {
  const text = await response.text()
  const { status, headers } = response
  try {
    return { status, headers, body: parseJson(Buffer.from(text)) }
  } catch {
    return { status, headers, body: text.slice(0, 2000) }
  }
}

/** What a refusal means: what the connector says of it, else what its status says. */
function createFailures(
  failures: readonly Failure[] | undefined,
  expressions: Expressions,
): (scope: Scope, answer: Answer) => DeliveryError {
  const known = (Array.isArray(failures) ? (failures as readonly Failure[]) : []).map(({ when, kind, retry_after: retry }) => {
    if (!deliveryFailures.includes(kind))
      throw new PosthouseError('invalid', `send.failures: "${kind}" is none of ${deliveryFailures.join(', ')}`)
    return { when: expressions.condition(String(when)), kind, retry: retry === undefined ? undefined : expressions.value(String(retry)) }
  })
  return (scope, answer) => {
    const found = known.find(({ when }) => when(scope))
    const kind = found?.kind ?? kindOf(answer.status)
    const seconds = Number(found?.retry?.(scope) ?? answer.headers['retry-after'])
    const detail = `${answer.status} ${(typeof answer.body === 'string' ? answer.body : toJson(answer.body)).slice(0, 200)}`
    return new DeliveryError(kind, detail, kind === 'rate-limited' ? { retryAfter: seconds > 0 ? seconds * 1000 : 5000 } : {})
  }
}

/** RFC 9110. What may have been done all the same is not known. */
function kindOf(status: number): DeliveryFailure {
  if (status === 429) return 'rate-limited'
  if (status === 401) return 'auth'
  if (status === 403) return 'permission'
  if (status === 404 || status === 410) return 'not-found'
  if (status === 503) return 'transient'
  return status >= 400 && status < 500 ? 'invalid' : 'unknown'
}

export function toDeliveryError(error: unknown): DeliveryError {
  if (error instanceof DeliveryError) return error
  if (error instanceof FetchError) return new DeliveryError(error.kind === 'connect' ? 'transient' : 'unknown', error.message)
  if (error instanceof PosthouseError) return new DeliveryError('invalid', error.message)
  return new DeliveryError('unknown', error instanceof Error ? error.message : String(error))
}
