/** Calls of the HTTP API: time limit, error shape, and one sign-in dialog for all calls that come back with 401. */
import type {
  ConversationsResponse,
  ConversationView,
  ErrorBody,
  FileView,
  HistoryResponse,
  LoginRequest,
  MeResponse,
  ModelsResponse,
  SetupRequest,
  SetupStatus,
} from '@posthouse/contract/http'

export type ErrorCode = ErrorBody['error']['code']

/** Why a call failed: the server's code, or `offline` (no answer at all), `slow` (none in time), `cancelled`. */
export class ApiError extends Error {
  readonly code: ErrorCode | 'offline' | 'slow' | 'cancelled'
  readonly detail: string | undefined
  readonly status: number
  readonly id: string | undefined
  constructor(code: ApiError['code'], status: number, body?: ErrorBody['error']) {
    super(body?.message ?? code)
    this.name = 'ApiError'
    this.code = code
    this.status = status
    this.detail = body?.detail
    this.id = body?.id
  }
}

const TIME_LIMIT = 20_000
const byStatus: Readonly<Record<number, ErrorCode>> = {
  400: 'invalid',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not-found',
  410: 'gone',
  413: 'too-large',
  415: 'unsupported',
  429: 'rate-limited',
  503: 'unavailable',
  504: 'timeout',
}

/** Reads an error out of an answer, whatever stands in it (a proxy's page, say). */
function errorFrom(status: number, text: string): ApiError {
  try {
    const body = JSON.parse(text) as Partial<ErrorBody>
    if (body.error?.code) return new ApiError(body.error.code, status, body.error)
  } catch {
    // Not ours: the status has to do.
  }
  return new ApiError(byStatus[status] ?? 'internal', status)
}

let signInAgain: (() => Promise<void>) | undefined

/** Says how to get a signed-in person back; all calls that met a 401 wait for the same promise. */
export function onSignedOut(ask: () => Promise<void>): void {
  signInAgain = ask
}

/** Runs a call; after a 401 asks for sign-in and runs it once more. */
async function withSignIn<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'unauthorized' || !signInAgain) throw error
    await signInAgain()
    return call()
  }
}

async function callOnce<T>(path: string, init: RequestInit): Promise<T> {
  let response: Response
  try {
    response = await fetch(path, { credentials: 'same-origin', signal: AbortSignal.timeout(TIME_LIMIT), ...init })
  } catch (error) {
    throw new ApiError(error instanceof DOMException && error.name === 'TimeoutError' ? 'slow' : 'offline', 0)
  }
  const text = await response.text().catch(() => '')
  if (!response.ok) throw errorFrom(response.status, text)
  if (text === '') return undefined as T
  try {
    return JSON.parse(text) as T
  } catch {
    throw new ApiError('internal', response.status)
  }
}

function withBody(method: string, body: unknown): RequestInit {
  return { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}

const at = (parts: TemplateStringsArray, ...values: readonly string[]) => String.raw({ raw: parts }, ...values.map(encodeURIComponent))

/** Every call of the page. Those before sign-in (`setup*`, `login`, `me`) report a 401; the others ask for sign-in. */
export const api = {
  setupStatus: () => callOnce<SetupStatus>('/api/setup', {}),
  setUp: (request: SetupRequest) => callOnce<unknown>('/api/setup', withBody('POST', request)),
  logIn: (request: LoginRequest) => callOnce<unknown>('/api/login', withBody('POST', request)),
  logOut: () => callOnce<unknown>('/api/logout', { method: 'POST' }),
  me: () => callOnce<MeResponse>('/api/me', {}),
  conversations: (before?: number) =>
    withSignIn(() =>
      callOnce<ConversationsResponse>(`/api/v1/conversations?limit=50${before === undefined ? '' : `&before=${before}`}`, {}),
    ),
  rename: (id: string, title: string) =>
    withSignIn(() => callOnce<ConversationView>(at`/api/v1/conversations/${id}`, withBody('PATCH', { title }))),
  remove: (id: string) => withSignIn(() => callOnce<unknown>(at`/api/v1/conversations/${id}`, { method: 'DELETE', keepalive: true })),
  history: (id: string, before?: number) =>
    withSignIn(() =>
      callOnce<HistoryResponse>(at`/api/v1/history?limit=50&conversation_id=${id}` + (before === undefined ? '' : `&before=${before}`), {}),
    ),
  models: () => withSignIn(() => callOnce<ModelsResponse>('/api/v1/models', {})),
  chooseModel: (model: string) => withSignIn(() => callOnce<unknown>('/api/v1/models/current', withBody('PUT', { model }))),
}

/** Where the bytes of a file are. */
export const fileUrl = (id: string) => at`/api/v1/files/${id}`

/** The largest file that the server takes. */
export const FILE_LIMIT = 50 * 1024 * 1024
/** An upload on which nothing moves for so long has failed. */
const UPLOAD_STALL = 60_000

function uploadOnce(file: File, onProgress: (share: number) => void, signal: AbortSignal): Promise<FileView> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new ApiError('cancelled', 0))
    const request = new XMLHttpRequest()
    let timer = 0
    const stalls = () => {
      clearTimeout(timer)
      timer = window.setTimeout(() => fail('slow'), UPLOAD_STALL)
    }
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', cancel)
    }
    const fail = (code: ApiError['code']) => {
      done()
      reject(new ApiError(code, 0))
      request.abort()
    }
    const cancel = () => fail('cancelled')
    signal.addEventListener('abort', cancel)
    request.open('POST', '/api/v1/files')
    request.upload.onprogress = (event) => {
      stalls()
      if (event.lengthComputable) onProgress(event.loaded / event.total)
    }
    request.onerror = () => fail('offline')
    request.onload = () => {
      done()
      if (request.status < 200 || request.status > 299) return reject(errorFrom(request.status, request.responseText))
      try {
        resolve(JSON.parse(request.responseText) as FileView)
      } catch {
        reject(new ApiError('internal', request.status))
      }
    }
    const form = new FormData()
    form.append('file', file, file.name)
    stalls()
    request.send(form)
  })
}

/** Sends a file. `onProgress` gets a share of 1. Throws {@link ApiError}, `cancelled` when the signal fired. */
export function uploadFile(file: File, onProgress: (share: number) => void, signal: AbortSignal): Promise<FileView> {
  return withSignIn(() => uploadOnce(file, onProgress, signal))
}
