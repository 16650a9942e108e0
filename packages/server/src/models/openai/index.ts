/** Everything that speaks OpenAI's chat completions: OpenAI, DeepSeek, Qwen, Ollama, vLLM, llama.cpp and most gateways. */
import type { ModelProvider } from '@posthouse/contract'
import { createRedactor, redactorFor } from '../wire/redact.ts'
import { checkWire, timeoutsOf, wireFields } from '../wire/settings.ts'
import { streamCall } from '../wire/stream.ts'
import { touch } from '../wire/warm.ts'
import { chatBody, DEFAULT_URL, firstDialect, headersOf, learn, type OpenAiSettings, urlOf } from './api.ts'
import { embed } from './embed.ts'
import { createDecoder } from './stream.ts'

export type { OpenAiSettings } from './api.ts'

export const openai: ModelProvider<OpenAiSettings> = {
  id: 'openai',
  settings: {
    fields: {
      base_url: {
        type: 'string',
        format: 'url',
        default: DEFAULT_URL,
        description: { en: 'Address of the API, up to and with /v1.', zh: 'API 地址，写到 /v1 为止。' },
        examples: [
          'https://api.deepseek.com/v1',
          'https://dashscope.aliyuncs.com/compatible-mode/v1',
          'http://127.0.0.1:11434/v1',
          'http://127.0.0.1:8000/v1',
        ],
      },
      ...wireFields,
      max_tokens: {
        type: 'integer',
        minimum: 1,
        description: { en: 'Longest answer in tokens; without it the provider decides.', zh: '回答的最大 token 数；不填则由提供方决定。' },
      },
      vision: { type: 'boolean', default: false, description: { en: 'Whether the model can see pictures.', zh: '模型是否能看图片。' } },
      organization: { type: 'string', description: { en: "OpenAI's organization id.", zh: 'OpenAI 的组织 ID。' } },
      embedding_batch: {
        type: 'integer',
        minimum: 1,
        maximum: 2048,
        default: 64,
        description: {
          en: 'Texts per embeddings request; DashScope takes at most 10.',
          zh: '每次向量请求的文本数；DashScope 最多 10 条。',
        },
      },
    },
    required: ['model'],
    check: checkWire,
  },
  create(settings, host) {
    const redact = createRedactor([settings.api_key?.trim(), ...Object.values(settings.headers ?? {})])
    const dialect = firstDialect()
    const url = urlOf(settings, '/chat/completions')
    const headers = headersOf(settings)
    const timeouts = timeoutsOf(settings)
    return {
      id: host.id,
      vision: settings.vision ?? false,
      stream: (request, signal) => {
        const hide = redactorFor(redact, request)
        return streamCall(
          {
            fetch: host.fetch,
            url,
            headers,
            body: () => chatBody(settings, request, dialect),
            decoder: createDecoder(request.messages, hide),
            timeouts,
            redact: hide,
            adapt: (error) => {
              const again = learn(dialect, error)
              if (again) host.log.info({ model: host.id, reason: error.message }, 'the provider wants the request in another form')
              return again
            },
          },
          signal,
        )
      },
      embed: (texts, signal) => embed(texts, settings, host.fetch, redact, signal),
      warmUp: (signal) => touch(host.fetch, urlOf(settings, '/models'), headers, timeouts, signal),
    }
  },
}
