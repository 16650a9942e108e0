/** Anthropic's messages API. */
import type { ModelProvider } from '@posthouse/contract'
import { createRedactor, redactorFor } from '../wire/redact.ts'
import { checkWire, timeoutsOf, wireFields } from '../wire/settings.ts'
import { streamCall } from '../wire/stream.ts'
import { touch } from '../wire/warm.ts'
import { type AnthropicSettings, DEFAULT_MAX_TOKENS, DEFAULT_URL, headersOf, messagesBody, urlOf } from './api.ts'
import { createDecoder } from './stream.ts'

export type { AnthropicSettings } from './api.ts'

export const anthropic: ModelProvider<AnthropicSettings> = {
  id: 'anthropic',
  settings: {
    fields: {
      base_url: {
        type: 'string',
        format: 'url',
        default: DEFAULT_URL,
        description: { en: 'Address of the API, for proxies and gateways.', zh: 'API 地址，用于代理和网关。' },
      },
      ...wireFields,
      max_tokens: {
        type: 'integer',
        minimum: 1,
        default: DEFAULT_MAX_TOKENS,
        description: { en: 'Longest answer in tokens.', zh: '回答的最大 token 数。' },
      },
      vision: { type: 'boolean', default: true, description: { en: 'Whether the model can see pictures.', zh: '模型是否能看图片。' } },
    },
    required: ['model'],
    check: checkWire,
  },
  create(settings, host) {
    const redact = createRedactor([settings.api_key?.trim(), ...Object.values(settings.headers ?? {})])
    const url = urlOf(settings, '/v1/messages')
    const headers = headersOf(settings)
    const timeouts = timeoutsOf(settings)
    return {
      id: host.id,
      vision: settings.vision ?? true,
      stream: (request, signal) => {
        const body = () => messagesBody(settings, request)
        const hide = redactorFor(redact, request)
        const decoder = createDecoder(request.messages, hide)
        return streamCall({ fetch: host.fetch, url, headers, body, decoder, timeouts, redact: hide }, signal)
      },
      warmUp: (signal) => touch(host.fetch, urlOf(settings, '/v1/models'), headers, timeouts, signal),
    }
  },
}
