// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are the configuration's own placeholders
/** Settings that every provider with a wire shares. */
import type { Bilingual, Field } from '@posthouse/contract'
import type { Timeouts } from './watch.ts'

/** Durations are milliseconds. */
export interface WireSettings {
  readonly base_url?: string
  readonly api_key?: string
  readonly model: string
  readonly max_tokens?: number
  readonly temperature?: number
  readonly vision?: boolean
  readonly headers?: Readonly<Record<string, string>>
  readonly connect_timeout?: number
  readonly first_token_timeout?: number
  readonly idle_timeout?: number
  readonly total_timeout?: number
  /** Read by whoever builds the router. */
  readonly max_concurrency?: number
}

export const wireFields = {
  api_key: {
    type: 'string',
    format: 'secret',
    description: {
      en: 'Key of the provider. Write `${env:NAME}` or `${file:path}`; local servers need none.',
      zh: '提供方的密钥。写成 `${env:名称}` 或 `${file:路径}`；本地服务可不填。',
    },
    examples: ['${env:DEEPSEEK_API_KEY}'],
  },
  model: { type: 'string', description: { en: 'Name of the model at the provider.', zh: '提供方处的模型名称。' } },
  temperature: {
    type: 'number',
    minimum: 0,
    maximum: 2,
    description: { en: 'Randomness of the answers; without it the provider decides.', zh: '回答的随机程度；不填则由提供方决定。' },
  },
  headers: {
    type: 'object',
    description: { en: 'Further HTTP headers, for gateways and proxies.', zh: '附加的 HTTP 请求头，用于网关和代理。' },
  },
  connect_timeout: {
    type: 'integer',
    format: 'duration',
    default: 10_000,
    minimum: 1,
    description: { en: 'Longest wait for the connection.', zh: '建立连接的最长等待时间。' },
  },
  first_token_timeout: {
    type: 'integer',
    format: 'duration',
    default: 30_000,
    minimum: 1,
    description: {
      en: 'Longest wait for the first token; keep-alive signs do not count.',
      zh: '等待首个 token 的最长时间；保活信号不算。',
    },
  },
  idle_timeout: {
    type: 'integer',
    format: 'duration',
    default: 20_000,
    minimum: 1,
    description: { en: 'Longest pause between two tokens.', zh: '两个 token 之间的最长停顿。' },
  },
  total_timeout: {
    type: 'integer',
    format: 'duration',
    default: 180_000,
    minimum: 1,
    description: { en: 'Longest time for a whole answer.', zh: '一次完整回答的最长时间。' },
  },
  max_concurrency: {
    type: 'integer',
    minimum: 1,
    maximum: 10_000,
    default: 64,
    description: { en: 'Calls at the same time; more wait in line.', zh: '同时进行的调用数；超出的排队等待。' },
  },
} as const satisfies Record<string, Field>

/** The limits of a call; a setting that nobody wrote has the default that its field names. */
export function timeoutsOf(settings: WireSettings): Timeouts {
  return {
    connect: settings.connect_timeout ?? 10_000,
    firstToken: settings.first_token_timeout ?? 30_000,
    idle: settings.idle_timeout ?? 20_000,
    total: settings.total_timeout ?? 180_000,
  }
}

interface Problem<F extends string> {
  readonly field: F
  readonly problem: Bilingual
}

/** What no single field can tell: an address that is one, a key that fits into a header. */
export function checkWire(settings: WireSettings): readonly Problem<'base_url' | 'api_key'>[] {
  const problems: Problem<'base_url' | 'api_key'>[] = []
  const { base_url: url, api_key: key } = settings
  if (url !== undefined && !(URL.canParse(url) && /^https?:$/.test(new URL(url).protocol))) {
    problems.push({ field: 'base_url', problem: { en: 'must be an http or https address', zh: '必须是 http 或 https 地址' } })
  }
  if (key !== undefined && !/^[\x21-\x7e]+$/.test(key.trim())) {
    problems.push({
      field: 'api_key',
      problem: {
        en: 'must be one word of plain characters; a space, line break or other letter slipped in',
        zh: '必须是不含空格的普通字符；其中混入了空格、换行或其他字符',
      },
    })
  }
  return problems
}

/** The address of a call: `base` may be written with or without the end that the provider's guides show. */
export function endpoint(base: string, path: string, ends: RegExp): string {
  const url = new URL(base)
  url.pathname = `${url.pathname.replace(/\/+$/, '').replace(ends, '')}${path}`
  return url.href
}
