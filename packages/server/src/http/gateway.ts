/** The rest of the gateway as HTTP sees it: what the composition root hands over. */
import type { Logger, Priority } from '@posthouse/contract'
import type { MeResponse, ModelsResponse, TurnView } from '@posthouse/contract/http'
import type { Clock } from '../base/clock.ts'
import type { NewId } from '../base/ids.ts'
import type { Webhook } from '../ports/accounts.ts'
import type { Blobs } from '../ports/blobs.ts'
import type { Guards } from '../ports/guards.ts'
import type { Live } from '../ports/live.ts'
import type { Models } from '../ports/models.ts'
import type { OutsideName, OutsideProblem } from '../ports/outside.ts'
import type { PersonsWords, Store, StoredMessage } from '../ports/store.ts'

/** An account's door: what proves a call, who answers one that carries no proof, and who takes the others. */
export interface Readiness {
  readonly ready: boolean
  readonly problems: readonly string[]
  readonly degraded: readonly { readonly server: OutsideName; readonly problem: OutsideProblem }[]
}

export interface Gateway {
  readonly version: string
  readonly store: Store
  readonly blobs: Blobs
  readonly live: Live
  readonly guards: Guards
  readonly models: Models
  readonly clock: Clock
  readonly newId: NewId
  readonly log: Logger
  /** A message of a signed-in person or a program. Resolves after the commit. */
  receive(sent: SentMessage): Promise<{ readonly messageId: string; readonly conversationId: string; readonly duplicate: boolean }>
  /** A person answers from now on, and says `words`, if anything; undefined: there is no such conversation. */
  takeOver(conversationId: string, by: string, words: PersonsWords | undefined): Promise<readonly StoredMessage[] | undefined>
  stop(conversationId: string): Promise<void>
  inFlight(conversationId: string): TurnView | undefined
  currentModel(): Promise<string>
  switchModel(model: string): Promise<void>
  modelsView(): Promise<ModelsResponse>
  /** The door of an account, if it has one. */
  webhook(account: string): Webhook | undefined
  /** Whether the gateway may take messages; `problems` say why not. `degraded`: servers that it does without. */
  readiness(): Promise<Readiness>
  status(): Promise<Record<string, unknown>>
  metrics(): Promise<{ readonly type: string; readonly text: string }>
}

export interface SentMessage {
  readonly account: 'web' | 'api'
  /** Unique for the person, chosen by the client. */
  readonly clientId: string
  readonly conversationId: string
  readonly owner: string
  readonly author: Pick<MeResponse, 'id' | 'name'>
  readonly text: string
  readonly files: readonly string[]
  readonly replaces: string | undefined
  readonly priority: Priority
}
