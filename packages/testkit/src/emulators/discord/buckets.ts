/** Rate limits per route and channel, and over all; with the headers that tell of them. https://docs.discord.com/developers/topics/rate-limits */
import type { PlatformAnswer } from '../platform.ts'

export interface DiscordLimits {
  /** Calls of one route in one channel. */
  readonly route?: { readonly amount: number; readonly per: number }
  /** All calls of the bot. */
  readonly global?: { readonly amount: number; readonly per: number }
}

/** About what bots see: five messages in five seconds in a channel, 50 calls a second in all. */
export const discordLimits: DiscordLimits = { route: { amount: 5, per: 5000 }, global: { amount: 50, per: 1000 } }

interface Window {
  left: number
  until: number
}

export interface Buckets {
  /** Takes a place; the refusal when there is none, and the headers of whatever is answered. */
  take(
    route: string,
    major: string,
    interaction: boolean,
  ): { readonly refusal?: PlatformAnswer; readonly headers: Readonly<Record<string, string>> }
}

export function tooMany(seconds: number, global: boolean): PlatformAnswer {
  return {
    status: 429,
    headers: {
      'retry-after': String(Math.ceil(seconds)),
      'x-ratelimit-scope': global ? 'global' : 'user',
      ...(global ? { 'x-ratelimit-global': 'true' } : {}),
    },
    body: { message: 'You are being rate limited.', retry_after: seconds, global },
  }
}

export function createBuckets({ route, global }: DiscordLimits): Buckets {
  const windows = new Map<string, Window>()
  const windowOf = (key: string, limit: { amount: number; per: number }, now: number): Window => {
    const known = windows.get(key)
    if (known && known.until > now) return known
    const made = { left: limit.amount, until: now + limit.per }
    windows.set(key, made)
    return made
  }
  return {
    take(name, major, interaction) {
      const now = performance.now()
      // Answers to interactions are not bound by the limit over all.
      const all = global && !interaction ? windowOf('global', global, now) : undefined
      if (all && all.left <= 0) return { refusal: tooMany((all.until - now) / 1000, true), headers: {} }
      if (all) all.left--
      if (!route) return { headers: {} }
      const own = windowOf(`${name} ${major}`, route, now)
      const after = (own.until - now) / 1000
      const refused = own.left <= 0
      if (!refused) own.left--
      const headers = {
        'x-ratelimit-limit': String(route.amount),
        'x-ratelimit-remaining': String(own.left),
        'x-ratelimit-reset': ((Date.now() + own.until - now) / 1000).toFixed(3),
        'x-ratelimit-reset-after': after.toFixed(3),
        'x-ratelimit-bucket': Buffer.from(name).toString('hex').slice(0, 24),
      }
      if (!refused) return { headers }
      const refusal = tooMany(after, false)
      return { refusal: { ...refusal, headers: { ...refusal.headers, ...headers } }, headers }
    },
  }
}
