/** Models: providers by the name of their wire format, and the router that makes one answer out of many endpoints. */
import type { ModelProvider } from '@posthouse/contract'
import { anthropic } from './anthropic/index.ts'
import { demo } from './demo/index.ts'
import { openai } from './openai/index.ts'

/** A provider seen without its own settings' type: their fields are data, checked by whoever reads the configuration. */
export type AnyProvider = ModelProvider<Record<string, unknown>>

/** What `api` of an endpoint's configuration may name. */
export const providers: Readonly<Record<string, AnyProvider>> = {
  openai: seen(openai),
  anthropic: seen(anthropic),
  demo: seen(demo),
}

function seen<S>(provider: ModelProvider<S>): AnyProvider {
  return provider as unknown as AnyProvider
}

export { createModelRouter, type EndpointStatus, type ModelRouter } from './router/index.ts'
