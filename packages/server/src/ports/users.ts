/** People who sign in, their logins and their programs' tokens, as the database keeps them. */

export interface User {
  readonly id: string
  readonly name: string
  readonly role: 'admin' | 'user'
  readonly passwordHash: string
  /** Raised when a password changes; what was issued before is void. */
  readonly version: number
}

export interface AccessToken {
  readonly id: string
  readonly name: string
  readonly userId: string
  readonly scopes: readonly string[]
  readonly createdAt: number
  readonly expiresAt: number
  readonly revokedAt: number | undefined
}

export interface UserStore {
  count(): Promise<number>
  /** The account that was made first. */
  first(): Promise<User | undefined>
  byName(name: string): Promise<User | undefined>
  byId(id: string): Promise<User | undefined>
  /** @throws PosthouseError `invalid` when the name is taken. */
  add(user: Omit<User, 'version'>): Promise<void>
  /** Makes the first account, if there is none yet and `linkHash` is the unused, unexpired set-up link. */
  setUp(linkHash: string, user: Omit<User, 'version'>): Promise<boolean>
  /** Sets a set-up link. `alone`: earlier ones are void; else another node may have told one, and the first that is used counts. */
  setLink(linkHash: string, expiresAt: number, alone: boolean): Promise<void>
  changePassword(id: string, passwordHash: string): Promise<void>
  addLogin(hash: string, userId: string, expiresAt: number): Promise<void>
  /** The user of a valid login. */
  login(hash: string): Promise<User | undefined>
  removeLogin(hash: string): Promise<void>
  addToken(token: Omit<AccessToken, 'revokedAt'>): Promise<void>
  token(id: string): Promise<AccessToken | undefined>
  tokens(): Promise<readonly AccessToken[]>
  revokeToken(id: string): Promise<boolean>
}
