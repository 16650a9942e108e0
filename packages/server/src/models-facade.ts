/** The configured models behind one router, which a new configuration replaces while answers that are under way end on the old one. */
import { createHash } from 'node:crypto'
import type { Fetch } from '@posthouse/contract'
import type { Clock } from './base/clock.ts'
import { createPlaces } from './base/places.ts'
import type { Config } from './config/index.ts'
import { createModelRouter, type EndpointStatus, type ModelRouter } from './models/index.ts'
import type { AppLogger } from './ops/index.ts'
import type { EndpointInfo, Models } from './ports/models.ts'
import type { Observer } from './ports/observer.ts'

export interface ConfiguredModels extends Models {
  status(): readonly EndpointStatus[]
  update(config: Config['models']): void
  /** Opens connections ahead of the first question. Best effort, in the background. */
  warmUp(): void
}

const WARM_UP = 10_000

export function createModels(
  initial: Config['models'],
  parts: { fetch: Fetch; clock: Clock; log: AppLogger; observer: Observer },
): ConfiguredModels {
  const { fetch, clock, log, observer } = parts
  let endpoints: readonly EndpointInfo[] = []
  let router: ModelRouter
  let shape = ''

  const update = (config: Config['models']) => {
    const next = JSON.stringify(config)
    if (next === shape) return
    shape = next
    const models = config.endpoints.map(({ id, provider, settings }) => {
      const { max_concurrency: maxConcurrency } = settings as { max_concurrency?: number }
      const model = provider.create(settings, { id, fetch, log: log.child({ model: id }) })
      return { model, ...(maxConcurrency === undefined ? {} : { maxConcurrency }) }
    })
    endpoints = config.endpoints.map(({ id, provider, settings }, index) => ({
      id,
      provider: provider.id,
      vision: models[index]?.model.vision ?? false,
      digest: createHash('sha256')
        .update(JSON.stringify([provider.id, settings]))
        .digest('base64url'),
    }))
    router = createModelRouter({
      models,
      fallback: config.fallback,
      clock,
      log,
      places: createPlaces,
      observe: ({ endpoint, outcome, duration }) => observer.modelCalled({ endpoint, outcome, took: duration }),
    })
  }
  update(initial)

  return {
    get endpoints() {
      return endpoints
    },
    stream: (request, options, signal) => router.stream(request, options, signal),
    status: () => router.status(),
    update,
    warmUp() {
      router.warmUp(AbortSignal.timeout(WARM_UP)).catch((error: unknown) => log.debug({ err: error }, 'a model could not be warmed up'))
    },
  }
}
