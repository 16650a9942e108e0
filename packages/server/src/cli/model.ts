/** `posthouse model`: which endpoints there are, whether they answer, and which one is used. */
import { type Model, ModelError } from '@posthouse/contract'
import { systemClock } from '../base/clock.ts'
import type { EndpointConfig } from '../config/index.ts'
import { createLogger } from '../ops/index.ts'
import { chosenModel, switchEverywhere } from '../pipeline/index.ts'
import { createFetch, type FetchClient } from '../security/index.ts'
import type { Call } from './call.ts'
import { type Local, loadLocal, openLocal } from './local.ts'
import { CliError, plain, table } from './terminal.ts'

const PATIENCE = 60_000

export async function listModels(call: Call): Promise<void> {
  const local = loadLocal(call)
  const { terminal } = call
  const { endpoints, primary, fallback } = local.config.models
  const current = await currentModel(local)
  const rows = endpoints.map(({ id, provider }) => [
    id === current ? `* ${id}` : `  ${id}`,
    provider.id,
    id === primary
      ? terminal.t({ en: 'primary', zh: '首选' })
      : fallback.includes(id)
        ? `${terminal.t({ en: 'fallback', zh: '接替' })} ${fallback.indexOf(id) + 1}`
        : '',
  ])
  terminal.result(
    endpoints.map(({ id, provider }) => ({
      id,
      api: provider.id,
      current: id === current,
      primary: id === primary,
      fallback: fallback.includes(id),
    })),
    table(terminal.t({ en: '  endpoint|api|role', zh: '  端点|接口|角色' }).split('|'), rows),
    'posthouse model test',
  )
}

async function currentModel(local: Local): Promise<string> {
  const { models } = local.config
  const known = models.endpoints.map(({ id, provider }) => ({ id, provider: provider.id, vision: false }))
  try {
    await using opened = await openLocal(local)
    return await chosenModel({ store: opened.store, models: { endpoints: known }, defaultModel: models.primary }, undefined)
  } catch (error) {
    if (error instanceof CliError) return models.primary
    throw error
  }
}

export async function switchModel(call: Call, [id = '']: readonly string[]): Promise<void> {
  const { terminal } = call
  const local = loadLocal(call)
  demand(local, id)
  await using opened = await openLocal(local, { create: true })
  await switchEverywhere({ store: opened.store }, id)
  terminal.result(
    { current: id },
    terminal.t({ en: `From the next question on ${id} answers. No restart is needed.`, zh: `从下一个问题起由 ${id} 回答，无需重启。` }),
    `posthouse model test ${id}`,
  )
}

function demand({ config, terminal }: Local, id: string): EndpointConfig {
  const found = config.models.endpoints.find((endpoint) => endpoint.id === id)
  const known = config.models.endpoints.map((endpoint) => endpoint.id)
  if (!found)
    throw new CliError(
      terminal.t({ en: `There is no endpoint "${id}". Known: ${known.join(', ')}.`, zh: `没有端点“${id}”。可用：${known.join('、')}。` }),
      2,
      'posthouse model list',
    )
  return found
}

export async function testModel(call: Call, [id]: readonly string[]): Promise<void> {
  const { terminal } = call
  const local = loadLocal(call)
  const endpoint = demand(local, id ?? (await currentModel(local)))
  const { text, firstToken, total } = await askModel(endpoint)
  terminal.result(
    { endpoint: endpoint.id, text, firstToken, total },
    `${endpoint.id}: ${plain(text, 80)}\n${terminal.t({ en: `first sign after ${firstToken} ms, done after ${total} ms`, zh: `首个输出 ${firstToken} ms，完成 ${total} ms` })}`,
    'posthouse start',
  )
}

/** One short question, past the router: this endpoint or none. @throws {CliError} with the provider's words. */
export async function askModel(
  { id, provider, settings }: EndpointConfig,
  signal: AbortSignal = AbortSignal.timeout(PATIENCE),
): Promise<{ text: string; firstToken: number; total: number }> {
  await using client: FetchClient = createFetch()
  const model: Model = provider.create(settings, { id, fetch: client.fetch, log: createLogger({ debug: false, terminal: undefined }) })
  const started = systemClock.elapsed()
  const since = () => Math.round(systemClock.elapsed() - started)
  let text = ''
  let firstToken = 0
  try {
    for await (const event of model.stream(
      { messages: [{ role: 'user', content: [{ type: 'text', text: 'Say hello in one short sentence.' }] }] },
      signal,
    )) {
      if (event.type !== 'text') continue
      firstToken ||= since()
      text += event.text
    }
  } catch (error) {
    if (!(error instanceof ModelError)) throw error
    throw new CliError(`${id}: ${error.kind}: ${error.message}`, 1, 'posthouse doctor', error)
  }
  return { text, firstToken, total: since() }
}
