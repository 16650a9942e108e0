/** The accounts that are configured, as the pipeline sees them. */
import type { Capabilities, Connection, RateLimits, WebhookRequest, WebhookResponse, WebhookVerification } from '@posthouse/contract'

export interface Account {
  readonly id: string
  readonly channel: string
  readonly capabilities: Capabilities
  /** Platform ids that may talk to us; undefined: everybody. */
  readonly allowedUsers: ReadonlySet<string> | undefined
  /** Milliseconds after which nothing is answered or sent by itself (P8); undefined: never too old. */
  readonly freshness: number | undefined
  /** How fast we may be; from the channel's figures unless configured otherwise. */
  readonly rates: RateLimits
  /** Undefined while the account is closed or could not be opened, or this node may be taken for dead. */
  readonly connection: Connection | undefined
  /** It sends over the connection that it listens by, and this node does not listen: what is to be sent is left to the one that does. */
  readonly elsewhere: boolean
}

export interface Accounts {
  find(id: string): Account | undefined
}

/** An account's door: what proves a call, who answers one that carries no proof, and who takes the others. */
export interface Webhook {
  readonly verification: readonly WebhookVerification[]
  challenge?(request: WebhookRequest): WebhookResponse | undefined
  handle(request: WebhookRequest): Promise<WebhookResponse>
}
