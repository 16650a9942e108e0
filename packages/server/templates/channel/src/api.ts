/** Pigeon's API, as thin as it can be: one call, one request, no retry. */
import { DeliveryError, type Fetch, type Identity } from '@posthouse/contract'

export class ApiError extends Error {
  readonly status: number
  /** Milliseconds. */
  readonly retryAfter: number | undefined
  constructor(status: number, message: string, retryAfter?: number) {
    super(`${status} ${message}`)
    this.name = 'ApiError'
    this.status = status
    this.retryAfter = retryAfter
  }
}

export interface Api {
  /** @throws DeliveryError `auth` when the token is refused */
  whoAmI(signal: AbortSignal): Promise<Identity>
  /** Answers the id of the message. @throws ApiError, FetchError */
  post(room: string, text: string, signal: AbortSignal): Promise<string>
}

export function createApi(baseUrl: string, token: string, fetch: Fetch): Api {
  const call = async (method: 'GET' | 'POST', path: string, signal: AbortSignal, body?: object) => {
    const response = await fetch(`${baseUrl.replace(/\/+$/, '')}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      signal,
      ...(body ? { body: JSON.stringify(body) } : {}),
    })
    const answer = (await response.json().catch(() => ({}))) as Readonly<Record<string, unknown>>
    if (response.status === 200) return answer
    const seconds = Number(response.headers['retry-after'])
    throw new ApiError(response.status, String(answer.error ?? 'refused'), seconds > 0 ? seconds * 1000 : undefined)
  }
  return {
    async whoAmI(signal) {
      try {
        const { id, name } = await call('GET', '/me', signal)
        return { id: String(id), name: String(name) }
      } catch (error) {
        if (error instanceof ApiError && error.status === 401) throw new DeliveryError('auth', error.message)
        throw new DeliveryError('transient', error instanceof Error ? error.message : String(error))
      }
    },
    post: async (room, text, signal) => String((await call('POST', `/rooms/${encodeURIComponent(room)}`, signal, { text })).id),
  }
}
