/** What a provider's refusal means: closed kinds out of status, error type and words. */
import { ModelError, type ModelFailure } from '@posthouse/contract'

/** The parts of an error body, whatever its form. */
export interface Refusal {
  readonly message: string
  readonly type: string
  readonly param: string
}

const WORDS = 600

/**
 * Words that say more than the status, first match wins. Collected from the error references of OpenAI, Anthropic, DeepSeek,
 * DashScope, Gemini's compatible endpoint, vLLM, llama.cpp and Ollama.
 */
const byWords: readonly (readonly [RegExp, ModelFailure])[] = [
  [/insufficient_quota|billing|insufficient balance|credit balance|arrear|exceeded your current quota|out of credits/i, 'quota'],
  [/overloaded|insufficient_system_resource|server is busy|service_unavailable/i, 'overloaded'],
  [/rate.?limit|too many requests|throttl/i, 'rate-limited'],
  [
    /context_length_exceeded|exceed_context_size|context (length|window|size)|prompt is too long|input is too long|range of input length|request_too_large/i,
    'too-long',
  ],
  [/invalid_api_key|api key not valid|incorrect api key|invalid x-api-key|authentication_error|permission_error/i, 'auth'],
  [/model_not_found|not_found_error|model not exist|unknown model|model\b.{0,100}(does not exist|not found)/i, 'not-found'],
]

const byStatus: Readonly<Record<number, ModelFailure>> = {
  401: 'auth',
  402: 'quota',
  403: 'auth',
  404: 'not-found',
  408: 'timeout',
  409: 'overloaded',
  413: 'too-long',
  425: 'overloaded',
  429: 'rate-limited',
}

/** Statuses whose kind no word may change, except that an exhausted quota is often told as 429. */
const plain = new Set([401, 403])

export function classify(status: number | undefined, refusal: Refusal): ModelFailure {
  const words = `${refusal.type} ${refusal.message}`
  const told = byWords.find(([pattern]) => pattern.test(words))?.[1]
  if (status === undefined) {
    return told ?? (/timeout/i.test(refusal.type) ? 'timeout' : /invalid_request/i.test(refusal.type) ? 'invalid' : 'overloaded')
  }
  if (plain.has(status)) return told === 'quota' ? 'quota' : 'auth'
  if (status === 429) return told === 'quota' ? 'quota' : 'rate-limited'
  if (status >= 500) return told === 'quota' || told === 'too-long' ? told : 'overloaded'
  if (status < 400) return 'not-found'
  return byStatus[status] ?? told ?? 'invalid'
}

/** Reads an error body; what isn't JSON of a known form is taken as words. */
export function readRefusal(body: string): Refusal {
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    return {
      message: body
        .replace(/<[^>]*>/g, ' ')
        .replace(/\s+/g, ' ')
        .trim(),
      type: '',
      param: '',
    }
  }
  return refusalOf(value)
}

/** The error inside a decoded body: `{ error }`, `[{ error }]`, `{ error: 'words' }`, `{ message }` or `{ detail }`. */
export function refusalOf(value: unknown): Refusal {
  const outer = record(Array.isArray(value) ? value[0] : value)
  const inner = typeof outer.error === 'string' ? { message: outer.error } : { ...outer, ...record(outer.error) }
  const fields = record(inner)
  return {
    message: words(fields.message) || words(fields.detail) || words(fields.msg),
    type: [fields.type, fields.code].map(words).filter(Boolean).join(' '),
    param: words(fields.param),
  }
}

/** The error of a call that was refused; `redact` takes the secrets out of the provider's words. */
export function toModelError(
  refusal: Refusal,
  redact: (text: string) => string,
  answer: { readonly status?: number; readonly headers?: Readonly<Record<string, string>> } = {},
): ModelError {
  const { status, headers } = answer
  const kind = classify(status, refusal)
  const retryAfter = headers && retryAfterOf(headers)
  const parts = [
    status === undefined ? 'error within the stream' : `status ${status}`,
    refusal.type,
    refusal.param && `param ${refusal.param}`,
  ]
  const said = redact(refusal.message).slice(0, WORDS)
  return new ModelError(kind, `${redact(parts.filter(Boolean).join(', '))}: ${said || 'the provider gave no reason'}`, {
    ...(status === undefined ? {} : { status }),
    ...(retryAfter === undefined ? {} : { retryAfter }),
  })
}

const DAY = 86_400_000

/** `retry-after-ms`, or `Retry-After` as seconds or a date (judged by the provider's own clock where it sends `Date`), in milliseconds. */
export function retryAfterOf(headers: Readonly<Record<string, string>>): number | undefined {
  const exact = number(headers['retry-after-ms'])
  if (exact !== undefined) return Math.min(Math.ceil(exact), DAY)
  const value = headers['retry-after']
  const seconds = number(value)
  if (seconds !== undefined) return Math.min(Math.ceil(seconds * 1000), DAY)
  // The engine's own parser takes almost everything for a date.
  const date = /^[A-Z][a-z]+, /.test(value ?? '') ? Date.parse(value ?? '') : Number.NaN
  if (Number.isNaN(date)) return undefined
  const now = Date.parse(headers.date ?? '')
  return Math.min(Math.max(0, date - (Number.isNaN(now) ? Date.now() : now)), DAY)
}

function number(value: string | undefined): number | undefined {
  return value !== undefined && /^\s*\d+(\.\d+)?\s*$/.test(value) ? Number(value) : undefined
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function words(value: unknown): string {
  if (value === undefined || value === null) return ''
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}
