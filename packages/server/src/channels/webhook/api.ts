/** The platform's API as the connector describes it: one call, one request, below one address. */
import { DeliveryError, type Fetch, type FetchResponse, PosthouseError } from '@posthouse/contract'
import { type Scope, toJson } from './expressions.ts'
import { answerOf, type PlannedRequest, type Planner, toDeliveryError } from './send.ts'

export interface Api {
  /** @throws DeliveryError */
  call(
    planner: Planner,
    request: PlannedRequest,
    scope: Scope,
    signal: AbortSignal,
  ): Promise<{ readonly id: string; readonly name: string }>
  /** @throws PosthouseError `address-refused` for what is not below the platform's address: a message could name any. */
  fetchFile(url: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<FetchResponse>
}

export function createApi(baseUrl: string, fetch: Fetch): Api {
  const base = baseUrl.replace(/\/+$/, '')
  return {
    async call(planner, request, scope, signal) {
      const { method, path, json, form, text } = request
      const body = json === undefined ? (form ? new URLSearchParams(form).toString() : text) : toJson(json)
      const type = json === undefined ? (form ? 'application/x-www-form-urlencoded' : 'text/plain; charset=utf-8') : 'application/json'
      try {
        const response = await fetch(base + (path.startsWith('/') || path === '' ? path : `/${path}`), {
          method,
          headers: { ...(body === undefined ? {} : { 'content-type': type }), ...planner.headers(scope) },
          signal,
          ...(body === undefined ? {} : { body }),
        })
        return planner.judge(await answerOf(response))
      } catch (error) {
        if (signal.aborted && !(error instanceof DeliveryError)) throw new DeliveryError('unknown', 'stopped while it was sent')
        throw toDeliveryError(error)
      }
    },
    async fetchFile(url, headers, signal) {
      const wanted = URL.canParse(url, `${base}/`) ? new URL(url, `${base}/`) : undefined
      if (!wanted || wanted.origin !== new URL(base).origin)
        throw new PosthouseError('address-refused', 'files come from below base_url only')
      return await fetch(wanted.href, { headers, signal })
    },
  }
}
