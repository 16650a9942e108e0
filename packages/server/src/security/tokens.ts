/** Tokens: JWTs for programs, random secrets for logins and set-up links. Only digests of the latter are stored. */
import { createHash, randomBytes } from 'node:crypto'
import { jwtVerify, SignJWT } from 'jose'
import type { Clock } from '../base/clock.ts'
import type { NewId } from '../base/ids.ts'
import type { Principal, Scope } from '../ports/guards.ts'
import type { UserStore } from '../ports/users.ts'
import type { MasterKey } from './key.ts'

const ISSUER = 'posthouse'
const AUDIENCE = 'posthouse-api'
const MOST_LENGTH = 4096
/** How long a check is remembered: a revoked token is refused within a second, on open sockets too. */
const REMEMBER = 500
const REMEMBERED = 1000

export interface Tokens {
  create(token: {
    name: string
    userId: string
    scopes: readonly Scope[]
    lifetime: number
  }): Promise<{ id: string; token: string; expiresAt: number }>
  /** Whom the token speaks for; undefined when it is not valid now. */
  verify(token: string): Promise<Principal | undefined>
}

export function createTokens(parts: { users: UserStore; key: MasterKey; clock: Clock; newId: NewId }): Tokens {
  const { users, clock, newId } = parts
  const secret = parts.key.derive('tokens')
  // The newest checks, so that a busy program does not cost a signature and a query each time.
  const known = new Map<string, { principal: Principal; until: number }>()
  return {
    async create({ name, userId, scopes, lifetime }) {
      const id = newId()
      const now = clock.now()
      const expiresAt = now + lifetime
      const token = await new SignJWT({ scope: scopes.join(' ') })
        .setProtectedHeader({ alg: 'HS256', typ: 'at+jwt' })
        .setIssuer(ISSUER)
        .setAudience(AUDIENCE)
        .setSubject(userId)
        .setJti(id)
        .setIssuedAt(Math.floor(now / 1000))
        .setExpirationTime(Math.floor(expiresAt / 1000))
        .sign(secret)
      await users.addToken({ id, name, userId, scopes, createdAt: now, expiresAt })
      return { id, token, expiresAt }
    },
    async verify(token) {
      if (token.length > MOST_LENGTH) return undefined
      const now = clock.now()
      const found = known.get(token)
      if (found && found.until > now) return found.principal
      known.delete(token)
      const principal = await check(token, now)
      if (principal) {
        if (known.size >= REMEMBERED) known.clear()
        known.set(token, { principal, until: now + REMEMBER })
      }
      return principal
    },
  }

  async function check(token: string, now: number): Promise<Principal | undefined> {
    let id: string | undefined
    try {
      const { payload } = await jwtVerify(token, secret, {
        algorithms: ['HS256'],
        typ: 'at+jwt',
        issuer: ISSUER,
        audience: AUDIENCE,
        requiredClaims: ['exp', 'sub', 'jti'],
        currentDate: new Date(now),
        clockTolerance: 0,
      })
      // The claims are only typed: what is in them is what somebody wrote.
      if (typeof payload.jti === 'string') id = payload.jti
    } catch {
      return undefined
    }
    // Scopes and owner come from our own record, never from what was presented.
    const stored = id === undefined ? undefined : await users.token(id)
    if (!stored || stored.revokedAt !== undefined || stored.expiresAt <= now) return undefined
    const user = await users.byId(stored.userId)
    return {
      userId: stored.userId,
      name: user?.name ?? stored.name,
      role: user?.role ?? 'user',
      scopes: stored.scopes as Scope[],
      by: 'token',
      id: stored.id,
    }
  }
}

/** A secret that only its holder knows, and the digest under which we find it again. */
export function newSecret(): { secret: string; hash: string } {
  const secret = randomBytes(32).toString('base64url')
  return { secret, hash: hashSecret(secret) }
}

export function hashSecret(secret: string): string {
  return createHash('sha256').update(`posthouse-secret:${secret}`).digest('base64url')
}
