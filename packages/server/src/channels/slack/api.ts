/** The Web API over the gateway's own HTTP client: one call, one request, no retry. https://docs.slack.dev/apis/web-api */
import {
  DeliveryError,
  type Fetch,
  FetchError,
  type FetchResponse,
  type Fields,
  type KeyValue,
  type OutboundFile,
  parseObject,
} from '@posthouse/contract'
import type { SlackSettings } from './settings.ts'

export interface CallOptions {
  readonly signal?: AbortSignal
  /** Milliseconds until the answer begins; default 15 s. */
  readonly timeout?: number
}

/** What Slack answered to a call that it carried out; nothing in it is trusted. */
export type Answer = Fields

export interface Api {
  /** @throws ApiError when Slack (or something in its place) refuses. @throws FetchError when no whole answer came. */
  call(token: string, method: string, args?: Readonly<Record<string, unknown>>, options?: CallOptions): Promise<Answer>
  /** The bytes of a file to the address that files.getUploadURLExternal gave. @throws ApiError @throws FetchError */
  upload(url: string, file: OutboundFile, options?: CallOptions): Promise<void>
  /** A file of Slack's. `token` is for Slack alone. @throws FetchError */
  download(token: string, url: string, options?: CallOptions): Promise<FetchResponse>
  /** Whether an address is Slack's own: only there the token may be shown. */
  isSlack(url: string): boolean
}

/** A refusal. `fromSlack` is false when the answer isn't the Web API's JSON, thus came from something in between. */
export class ApiError extends Error {
  /** Slack's word for it: `channel_not_found`. */
  readonly code: string
  readonly status: number
  readonly fromSlack: boolean
  /** Milliseconds. */
  readonly retryAfter: number | undefined
  constructor(method: string, code: string, details: { status: number; fromSlack: boolean; retryAfter?: number; needed?: string }) {
    super(`${method}: ${code}${details.needed ? ` (needs ${details.needed})` : ''}`)
    this.name = 'ApiError'
    this.code = code
    this.status = details.status
    this.fromSlack = details.fromSlack
    this.retryAfter = details.retryAfter
  }
}

const TIMEOUT = 15_000
const UPLOAD_TIMEOUT = 120_000
/** Every method takes a form; JSON is taken by some only. https://docs.slack.dev/apis/web-api#basics */
const FORM = 'application/x-www-form-urlencoded'

export function createApi(root: string, fetch: Fetch): Api {
  const base = root.replace(/\/+$/, '')
  const { origin } = new URL(base)
  const request = async (url: string, headers: Record<string, string>, body: string | AsyncIterable<Uint8Array>, options: CallOptions) =>
    await fetch(url, {
      method: 'POST',
      headers,
      body,
      headersTimeout: options.timeout ?? TIMEOUT,
      ...(options.signal ? { signal: options.signal } : {}),
    })
  return {
    async call(token, method, args = {}, options = {}) {
      const headers = { 'content-type': FORM, ...(token === '' ? {} : { authorization: `Bearer ${token}` }) }
      return await answerOf(method, await request(`${base}/${method}`, headers, formOf(args), options))
    },
    async upload(url, file, options = {}) {
      const headers = { 'content-type': 'application/octet-stream', 'content-length': String(file.size) }
      let status: number
      try {
        const response = await request(url, headers, file.open(), { timeout: UPLOAD_TIMEOUT, ...options })
        await response.text()
        status = response.status
      } catch (error) {
        // The address is a right to write: it is told to nobody.
        throw new FetchError(error instanceof FetchError ? error.kind : 'broken', 'the bytes of a file did not get through to Slack')
      }
      if (status !== 200) throw new ApiError('upload', `http_${status}`, { status, fromSlack: false })
    },
    download: (token, url, options = {}) =>
      fetch(url, { headers: { authorization: `Bearer ${token}` }, ...(options.signal ? { signal: options.signal } : {}) }),
    isSlack: (url) => {
      const parsed = URL.parse(url)
      if (!parsed) return false
      return parsed.origin === origin || (parsed.protocol === 'https:' && /(^|\.)slack(-gov)?\.com$/.test(parsed.hostname))
    },
  }
}

function formOf(args: Readonly<Record<string, unknown>>): string {
  const form = new URLSearchParams()
  for (const [name, value] of Object.entries(args)) {
    if (value !== undefined) form.set(name, typeof value === 'object' ? JSON.stringify(value) : String(value))
  }
  return form.toString()
}

async function answerOf(method: string, response: FetchResponse): Promise<Answer> {
  const answer = parseObject(await response.text())
  const { status, headers } = response
  if (answer?.ok === true && status === 200) return answer
  const seconds = Number(headers['retry-after'] ?? Number.NaN)
  throw new ApiError(method, typeof answer?.error === 'string' ? answer.error.slice(0, 100) : `http_${status}`, {
    status,
    fromSlack: typeof answer?.error === 'string',
    ...(Number.isFinite(seconds) ? { retryAfter: seconds * 1000 } : {}),
    ...(typeof answer?.needed === 'string' ? { needed: answer.needed.slice(0, 200) } : {}),
  })
}

// ---- Workspaces -------------------------------------------------------------------------------------------------------

/** The Web API in the name of one workspace's installation. */
export interface WorkspaceApi extends Pick<Api, 'upload' | 'isSlack'> {
  call(method: string, args?: Readonly<Record<string, unknown>>, options?: CallOptions): Promise<Answer>
  download(url: string, options?: CallOptions): Promise<FetchResponse>
}

/** Where a workspace's token comes from. `renew` answers another one than what was refused, if there is any. */
export interface TokenSource {
  current(): Promise<string>
  renew?(refusedToken: string): Promise<string | undefined>
}

const REFUSED = /^(token_expired|invalid_auth|token_revoked)$/

/** A call whose token is refused was surely not carried out: it is made once more with another one. */
export function bind(api: Api, source: TokenSource): WorkspaceApi {
  return {
    upload: api.upload,
    isSlack: api.isSlack,
    download: async (url, options) => await api.download(await source.current(), url, options),
    async call(method, args, options) {
      const token = await source.current()
      try {
        return await api.call(token, method, args, options)
      } catch (error) {
        if (!(error instanceof ApiError && REFUSED.test(error.code))) throw error
        const other = await source.renew?.(token)
        if (other === undefined) throw error
        return await api.call(other, method, args, options)
      }
    },
  }
}

/** What an installation left behind. */
interface Installation {
  readonly token: string
  readonly refresh?: string
  /** Epoch milliseconds. */
  readonly expiresAt?: number
}

/** Installations of an app in several workspaces. https://docs.slack.dev/authentication/installing-with-oauth */
export interface Installations {
  /** Exchanges the code that Slack sent a browser back with. @throws ApiError @throws DeliveryError of kind `permission` */
  add(code: string): Promise<{ readonly team: string; readonly name: string }>
  remove(team: string): Promise<void>
  has(team: string): Promise<boolean>
  of(team: string): TokenSource
  /** Asks whether Slack knows the app by these credentials. @throws ApiError */
  check(options: CallOptions): Promise<void>
}

/** A token lives for twelve hours. https://docs.slack.dev/authentication/using-token-rotation */
const RENEW_BEFORE = 30 * 60_000
const LOOKS = 3
const BETWEEN_LOOKS = 500
const NEVER = new AbortController().signal

/** Tokens are kept in the account's own state, which is sealed; nodes read what another one renewed. */
export function createInstallations(
  api: Api,
  settings: Pick<SlackSettings, 'client_id' | 'client_secret' | 'allowed_teams'>,
  state: KeyValue,
  clock: { now(): number; wait(ms: number, signal: AbortSignal): Promise<void> },
): Installations {
  const known = new Map<string, Installation>()
  const renewing = new Map<string, Promise<Installation>>()
  const { client_id, client_secret, allowed_teams } = settings
  const { now } = clock
  const keyOf = (team: string) => `team:${team}`

  const load = async (team: string): Promise<Installation | undefined> => {
    const text = await state.get(keyOf(team))
    const found = text ? (JSON.parse(text) as Installation) : undefined
    if (found) known.set(team, found)
    else known.delete(team)
    return found
  }
  const keep = async (team: string, answer: Answer): Promise<Installation> => {
    const { access_token: token, refresh_token: refresh, expires_in: seconds } = answer
    if (typeof token !== 'string') throw new DeliveryError('transient', 'Slack gave no token')
    const installation: Installation = {
      token,
      ...(typeof refresh === 'string' ? { refresh } : {}),
      ...(typeof seconds === 'number' ? { expiresAt: now() + seconds * 1000 } : {}),
    }
    await state.set(keyOf(team), JSON.stringify(installation))
    known.set(team, installation)
    return installation
  }
  const exchange = (team: string, refresh: string) =>
    api.call('', 'oauth.v2.access', { client_id, client_secret, grant_type: 'refresh_token', refresh_token: refresh }).then(
      (answer) => keep(team, answer),
      async (error: unknown) => {
        // A refresh token holds once: another node may have used it, and be about to write what came of it.
        for (let look = 0; look < LOOKS; look++) {
          const other = await load(team)
          if (other && other.refresh !== refresh) return other
          if (!(error instanceof ApiError && error.code === 'invalid_refresh_token')) break
          await clock.wait(BETWEEN_LOOKS, NEVER)
        }
        throw error
      },
    )
  /** One at a time for each workspace. */
  const renewOnce = (team: string, refresh: string): Promise<Installation> => {
    const under = renewing.get(team)
    if (under) return under
    const work = exchange(team, refresh).finally(() => renewing.delete(team))
    renewing.set(team, work)
    return work
  }

  return {
    async add(code) {
      const answer = await api.call('', 'oauth.v2.access', { client_id, client_secret, code })
      const { id, name } = (answer.team ?? {}) as { id?: unknown; name?: unknown }
      if (typeof id !== 'string') throw new DeliveryError('invalid', 'the app was installed for an organisation, not for a workspace')
      if (allowed_teams && !allowed_teams.includes(id))
        throw new DeliveryError('permission', `the workspace ${id} is not among allowed_teams`)
      await keep(id, answer)
      return { team: id, name: typeof name === 'string' ? name : id }
    },
    async remove(team) {
      known.delete(team)
      await state.set(keyOf(team), '')
    },
    has: async (team) => (known.get(team) ?? (await load(team))) !== undefined,
    of: (team) => ({
      async current() {
        const found = known.get(team) ?? (await load(team))
        if (!found) throw new DeliveryError('permission', `the app is not installed in the workspace ${team}`)
        const { token, refresh, expiresAt } = found
        if (refresh === undefined || expiresAt === undefined || now() < expiresAt - RENEW_BEFORE) return token
        // As long as the old one holds, a failure to renew it is nobody's concern.
        return await renewOnce(team, refresh).then(
          (next) => next.token,
          (error: unknown) => (now() < expiresAt ? token : Promise.reject(error)),
        )
      },
      async renew(refusedToken) {
        const found = await load(team)
        if (!found || found.token !== refusedToken) return found?.token
        return found.refresh === undefined ? undefined : (await renewOnce(team, found.refresh)).token
      },
    }),
    async check(options) {
      // There is no call for it. Wrong credentials have words of their own; that they are judged before the code is not documented.
      await api.call('', 'oauth.v2.access', { client_id, client_secret, code: 'posthouse-check' }, options).catch((error: unknown) => {
        if (!(error instanceof ApiError && error.code === 'invalid_code')) throw error
      })
    },
  }
}
