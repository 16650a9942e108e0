/** The guards as the parts see them; each stands in one place in `security/`. */
import type { FetchOptions, FetchResponse, WebhookVerification } from '@posthouse/contract'

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

/**
 * Fetches what a user, a model or a file named. Public addresses only, http and https on their usual ports, and what the owner opened; at most
 * five redirects, each judged anew, without credentials to another origin. `maxBytes`: of the body, 10 MiB unless given. `timeout`:
 * milliseconds for everything, 30 s unless given. The body must be read, or left by breaking the loop.
 * @throws PosthouseError `address-refused`; `too-large`, also while the body is read. @throws FetchError when no whole answer came.
 */
export type GuardedFetch = (
  url: string,
  options?: FetchOptions & { readonly maxBytes?: number; readonly timeout?: number },
) => Promise<FetchResponse & { readonly url: string }>

/** A webhook as it came: names of headers in lower case, the body's raw bytes. */
export interface WebhookCall {
  readonly method?: string
  /** Address at the other end of the line. */
  readonly peer?: string | undefined
  readonly query?: Readonly<Record<string, string | string[] | undefined>>
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Uint8Array
}

export interface Guards {
  /**
   * Lets the action pass and answers who does it. `own` needs the loaded thing: a thing of somebody else does not exist for the caller.
   * @throws PosthouseError `unauthorized`, `forbidden`, `not-found`.
   */
  authorize(principal: Principal | undefined, action: Action, thing?: { readonly owner: string | undefined }): Principal
  /** Whether a webhook may still be the platform's own, as far as all but its body tells: to be asked before that is read. */
  mayBePlatform(verification: WebhookVerification, head: Omit<WebhookCall, 'body'>, now: number): boolean
  /** Whether a webhook is the platform's own. `now`: epoch milliseconds. */
  verifyWebhook(verification: WebhookVerification, call: WebhookCall, now: number): boolean
  readonly fetch: GuardedFetch
  /** Whom a bearer token speaks for. */
  verifyToken(token: string): Promise<Principal | undefined>
  hashPassword(password: string): Promise<string>
  checkPassword(password: string, stored: string | undefined): Promise<boolean>
  readonly passwordRule: { readonly least: number; readonly most: number }
  scopesOf(role: Principal['role']): readonly Scope[]
  newSecret(): { readonly secret: string; readonly hash: string }
  hashSecret(secret: string): string
  /** Whether a signed address of a file is ours and still good. */
  checkLink(fileId: string, expires: number, signature: string): boolean
  /** What stands for a name that a caller chose, wherever it would stand in plain. */
  pseudonym(name: string): string
}
