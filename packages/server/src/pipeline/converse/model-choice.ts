/** Which model answers: the conversation's own choice, else the one switched to for all, else the configured one. */
import type { EndpointInfo } from '../../ports/models.ts'
import type { SettingStore } from '../../ports/store.ts'

interface ChoiceParts {
  readonly store: { readonly settings: SettingStore }
  readonly models: { readonly endpoints: readonly Pick<EndpointInfo, 'id'>[] }
  readonly defaultModel: string
}

const GLOBAL = 'model.current'
const own = (conversationId: string) => `model.conversation.${conversationId}`

/** The model of a conversation. A choice that is no longer configured counts as none. */
export async function chosenModel({ store, models, defaultModel }: ChoiceParts, conversationId: string | undefined): Promise<string> {
  const known = (name: string | undefined) => (models.endpoints.some((endpoint) => endpoint.id === name) ? name : undefined)
  const conversation = conversationId === undefined ? undefined : known(await store.settings.get(own(conversationId)))
  return conversation ?? known(await store.settings.get(GLOBAL)) ?? defaultModel
}

export function switchConversation({ store }: ChoiceParts, conversationId: string, model: string): Promise<void> {
  return store.settings.set(own(conversationId), model)
}

/** Switches every conversation that has not chosen for itself. Kept over restarts. */
export function switchEverywhere({ store }: Pick<ChoiceParts, 'store'>, model: string): Promise<void> {
  return store.settings.set(GLOBAL, model)
}
