/** The one guard of actions: who may do what to which thing. Deny unless allowed. */
import { PosthouseError } from '@posthouse/contract'
import { type Guards, type Principal, type Scope, scopes } from '../ports/guards.ts'

export const authorize: Guards['authorize'] = (principal, action, thing) => {
  if (!principal) throw new PosthouseError('unauthorized')
  const has = (scope: Scope) => principal.scopes.includes(scope)
  switch (action) {
    case 'chat':
      if (!has('chat')) throw new PosthouseError('forbidden', 'scope chat')
      return principal
    case 'own':
      if (thing?.owner === undefined || !belongs(thing.owner, principal.userId)) throw new PosthouseError('not-found')
      return principal
    case 'administer':
      if (!has('admin')) throw new PosthouseError('forbidden', 'scope admin')
      return principal
    case 'observe':
      if (!has('metrics') && !has('admin')) throw new PosthouseError('forbidden', 'scope metrics')
      return principal
    default:
      throw new PosthouseError('forbidden')
  }
}

/** `ann/bob` is Bob's, as a program of Ann's knows him; both names of it are Ann's. */
function belongs(owner: string, userId: string): boolean {
  return owner === userId || owner.startsWith(`${userId}/`)
}

/** The scopes of somebody who signed in. */
export function scopesOf(role: Principal['role']): readonly Scope[] {
  return role === 'admin' ? scopes : ['chat']
}
