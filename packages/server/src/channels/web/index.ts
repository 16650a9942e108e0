/**
 * The web chat and the API as a channel. Its platform is our own store: a committed message can be read there, and the pipeline tells the open
 * pages of it, so there is nothing left to send and nothing that could fail half-way.
 */
import type { Capabilities, Channel } from '@posthouse/contract'
import { reader } from './receive.ts'
import { render } from './send.ts'

export { decode } from './receive.ts'

const MB = 1024 * 1024
const FILE = 50 * MB

const capabilities: Capabilities = {
  maxText: { limit: 1_000_000, unit: 'utf16' },
  upload: { image: FILE, audio: FILE, voice: FILE, video: FILE, file: FILE },
  download: FILE,
  ownership: 'stateless',
  proactive: true,
  idempotentSend: true,
  ackDeadline: 30_000,
  retryWindow: 7 * 86_400_000,
  rates: {},
}

export const web: Channel = {
  id: 'web',
  settings: { fields: {}, required: [] },
  capabilities,
  probe: async () => ({ id: 'web', name: 'web chat' }),
  reader: () => reader,
  async open(_settings, host) {
    host.report('connected')
    return {
      render,
      send: async (_piece, to, { idempotencyKey }) => ({ id: idempotencyKey, room: to.room }),
      async [Symbol.asyncDispose]() {},
    }
  },
}
