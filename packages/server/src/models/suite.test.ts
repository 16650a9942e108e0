import { describe, it } from 'node:test'
import { createModelEmulator, type ModelHarness, type ModelWire, modelSuite } from '@posthouse/testkit'
import { createFetch } from '../security/fetch.ts'
import { providers } from './index.ts'

const silent = { debug() {}, info() {}, warn() {}, error() {} }

for (const name of ['openai', 'anthropic'] as const satisfies readonly ModelWire[]) {
  describe(`model behaviour: ${name}`, () => {
    for (const { name: title, run } of modelSuite) {
      it(title, async () => {
        await using emulator = await createModelEmulator()
        await using client = createFetch()
        const create: ModelHarness['create'] = ({ limits = {}, key = 'test-key', vision = true, model = 'test-model' } = {}) => {
          const settings = {
            base_url: name === 'openai' ? `${emulator.url}/v1` : emulator.url,
            api_key: key,
            model,
            vision,
            first_token_timeout: limits.firstToken ?? 10_000,
            idle_timeout: limits.idle ?? 10_000,
            total_timeout: limits.total ?? 20_000,
          }
          const provider = providers[name]
          if (!provider) throw new Error(`no provider ${name}`)
          return provider.create(settings, { id: name, log: silent, fetch: client.fetch })
        }
        await run({ create, wire: { name, emulator } })
      })
    }
  })
}

describe('model behaviour: demo', () => {
  for (const { name, run } of modelSuite.filter(({ wire }) => !wire)) {
    it(name, async () => {
      const { demo } = providers
      if (!demo) throw new Error('no demo')
      const host = { id: 'demo', log: silent, fetch: () => Promise.reject(new Error('the demo uses no network')) }
      await run({ create: () => demo.create({ pace: 2000 }, host) })
    })
  }
})
