/** One request and its answer over undici, with the chunks in a list: no stream object, no iterator of one, in the message's way. */
import { FetchError, type FetchResponse } from '@posthouse/contract'
import type { Dispatcher } from 'undici'

const TEXT_LIMIT = 10 * 1024 * 1024
/** Bytes that may wait for the reader before the socket is left alone. */
const WAITING = 64 * 1024

type Next = IteratorResult<Uint8Array, undefined>

/** Sends the request; resolves with the head of the answer. @throws {FetchError} */
export function exchange(
  dispatcher: Dispatcher,
  request: Dispatcher.DispatchOptions,
  signal: AbortSignal | undefined,
): Promise<FetchResponse> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(new FetchError('aborted', 'aborted'))
    const chunks: Uint8Array[] = []
    let waiting = 0
    let controller: Dispatcher.DispatchController | undefined
    let headed = false
    let over = false
    let failure: FetchError | undefined
    let reader: { readonly resolve: (next: Next) => void; readonly reject: (error: FetchError) => void } | undefined

    const end = (error?: unknown) => {
      if (over) return
      over = true
      signal?.removeEventListener('abort', onAbort)
      if (error !== undefined) failure = toFetchError(error, signal)
      if (!headed) reject(failure)
      else if (failure) reader?.reject(failure)
      else reader?.resolve({ done: true, value: undefined })
      reader = undefined
    }
    const leave = (error: Error) => {
      end(error)
      controller?.abort(error)
    }
    const onAbort = () => leave(new FetchError('aborted', 'aborted'))
    signal?.addEventListener('abort', onAbort)

    const next = (): Promise<Next> => {
      const chunk = chunks.shift()
      if (chunk) {
        waiting -= chunk.length
        if (controller?.paused && waiting < WAITING) controller.resume()
        return Promise.resolve({ done: false, value: chunk })
      }
      if (failure) return Promise.reject(failure)
      if (over) return Promise.resolve({ done: true, value: undefined })
      return new Promise((resolve, reject) => {
        reader = { resolve, reject }
      })
    }
    const iterator: AsyncIterator<Uint8Array, undefined> = {
      next,
      return() {
        if (!over) leave(new FetchError('aborted', 'the answer was left'))
        chunks.length = 0
        return Promise.resolve({ done: true, value: undefined })
      },
    }

    dispatcher.dispatch(request, {
      onRequestStart(opened) {
        controller = opened
        if (over) opened.abort(failure ?? new FetchError('aborted', 'aborted'))
      },
      onResponseStart(_, status, headers) {
        if (over || status < 200) return
        headed = true
        const text = () => readText(iterator, Number(headers['content-length'] ?? 0))
        resolve({
          status,
          headers: joined(headers),
          body: { [Symbol.asyncIterator]: () => iterator },
          text,
          json: async () => parseJson(await text()),
        })
      },
      onResponseData(_, chunk) {
        if (over) return
        if (reader) {
          reader.resolve({ done: false, value: chunk })
          reader = undefined
          return
        }
        chunks.push(chunk)
        waiting += chunk.length
        if (waiting >= WAITING) controller?.pause()
      },
      onResponseEnd: () => end(),
      onResponseError: (_, error) => end(error),
    })
  })
}

async function readText(body: AsyncIterator<Uint8Array, undefined>, declared: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  while (Math.max(size, declared) <= TEXT_LIMIT) {
    const { done, value } = await body.next()
    if (done) return Buffer.concat(chunks, size).toString('utf8')
    chunks.push(value)
    size += value.length
  }
  await body.return?.()
  throw new FetchError('broken', `the answer is longer than ${TEXT_LIMIT} bytes`)
}

/** @throws {FetchError} in words that do not quote what came. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new FetchError('broken', 'the answer is not valid JSON')
  }
}

/** Headers that came more than once in one line each. */
function joined(headers: Readonly<Record<string, string | string[] | undefined>>): Readonly<Record<string, string>> {
  const out: Record<string, string> = {}
  for (const name in headers) {
    const value = headers[name]
    if (value !== undefined) out[name] = typeof value === 'string' ? value : value.join(', ')
  }
  return out
}

/** Codes of failures before a byte of the request can have been taken by the other side. */
const NOT_CONNECTED = new Set([
  'UND_ERR_CONNECT_TIMEOUT',
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EACCES',
])

function toFetchError(error: unknown, signal?: AbortSignal): FetchError {
  if (error instanceof FetchError) return error
  if (signal?.aborted) return new FetchError('aborted', 'aborted', error)
  const { code, name, message } = error as { code?: string; name?: string; message?: string }
  if (name === 'AbortError' || code === 'UND_ERR_ABORTED') return new FetchError('aborted', 'aborted', error)
  if (code && (NOT_CONNECTED.has(code) || code.startsWith('ERR_TLS') || code.includes('CERT'))) {
    return new FetchError('connect', `no connection: ${code}`, error)
  }
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') return new FetchError('timeout', 'no answer in time', error)
  return new FetchError('broken', `the connection broke: ${code ?? message ?? 'unknown'}`, error)
}
