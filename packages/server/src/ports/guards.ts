/** The guards as the parts see them; each stands in one place in `security/`. */
import type { WebhookVerification } from '@posthouse/contract'

export const scopes = ['chat', 'admin', 'metrics'] as const
export type Scope = (typeof scopes)[number]

/** Who is asking. A login carries every scope that its role has; a token what it was given. */
export interface Principal {
  readonly userId: string
  readonly name: string
  readonly role: 'admin' | 'user'
  readonly scopes: readonly Scope[]
  readonly by: 'login' | 'token'
  /** Of the login or token. */
  readonly id: string
}

/** What may be done: talk, see or change a thing of one's own, administer, read metrics. */
export type Action = 'chat' | 'own' | 'administer' | 'observe'

export interface Guards {
  /**
   * Lets the action pass and answers who does it. `own` needs the loaded thing: a thing of somebody else does not exist for the caller.
   * @throws PosthouseError `unauthorized`, `forbidden`, `not-found`.
   */
  authorize(principal: Principal | undefined, action: Action, thing?: { readonly owner: string | undefined }): Principal
  verifyWebhook(verification: WebhookVerification, headers: Readonly<Record<string, string | string[] | undefined>>): boolean
  /** Whom a bearer token speaks for. */
  verifyToken(token: string): Promise<Principal | undefined>
  hashPassword(password: string): Promise<string>
  checkPassword(password: string, stored: string | undefined): Promise<boolean>
  readonly passwordRule: { readonly least: number; readonly most: number }
  scopesOf(role: Principal['role']): readonly Scope[]
  newSecret(): { readonly secret: string; readonly hash: string }
  hashSecret(secret: string): string
}
