/** Parameters of a call, from wherever the Bot API takes them: query, JSON, form, multipart. */
import type { IncomingMessage } from 'node:http'
import { Refusal } from './entities.ts'
import type { EmulatedFile } from './store.ts'

export interface Call {
  readonly params: Readonly<Record<string, unknown>>
  /** Uploads by the name of their form field. */
  readonly files: ReadonlyMap<string, EmulatedFile>
}

const MAX_BODY = 52 * 1024 * 1024
const NO_FILES: ReadonlyMap<string, EmulatedFile> = new Map()

/** @throws Refusal 413 for more than a bot may upload */
export async function readCall(request: IncomingMessage, query: string): Promise<Call> {
  const body = await readBody(request)
  const type = request.headers['content-type'] ?? ''
  if (type.startsWith('multipart/form-data')) return readMultipart(body, type)
  const params: Record<string, unknown> = query ? Object.fromEntries(new URLSearchParams(query)) : {}
  if (body.length === 0) return { params, files: NO_FILES }
  if (type.startsWith('application/json')) return { params: Object.assign(params, readJson(body)), files: NO_FILES }
  return { params: Object.assign(params, Object.fromEntries(new URLSearchParams(body.toString('utf8')))), files: NO_FILES }
}

export function readBody(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size <= MAX_BODY) chunks.push(chunk)
      else chunks.length = 0
    })
    // What is too large is read to its end, so that the refusal can be heard.
    request.on('end', () => {
      if (size > MAX_BODY) reject(new Refusal(413, 'Request Entity Too Large'))
      else resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks))
    })
    request.on('error', reject)
  })
}

function readJson(body: Buffer): object {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'))
    if (typeof value === 'object' && value !== null) return value
  } catch {}
  throw new Refusal(400, "Bad Request: can't parse JSON object")
}

function readMultipart(body: Buffer, type: string): Call {
  const boundary = /boundary="?([^";]+)"?/.exec(type)?.[1]
  if (!boundary) throw new Refusal(400, 'Bad Request: boundary is missing')
  const params: Record<string, unknown> = {}
  const files = new Map<string, EmulatedFile>()
  const mark = Buffer.from(`\r\n--${boundary}`)
  const whole = Buffer.concat([Buffer.from('\r\n'), body])
  let at = whole.indexOf(mark)
  for (;;) {
    const end = at < 0 ? -1 : whole.indexOf(mark, at + mark.length)
    if (end < 0) break
    const head = whole.indexOf('\r\n\r\n', at)
    const headers = whole.toString('utf8', at + mark.length, head)
    const content = whole.subarray(head + 4, end)
    const name = /[; ]name="([^"]*)"/.exec(headers)?.[1] ?? ''
    const filename = /filename=(?:"([^"]*)"|([^;\r\n]+))/
      .exec(headers)
      ?.slice(1)
      .find((value) => value !== undefined)
    if (filename === undefined) params[name] = content.toString('utf8')
    else {
      const mime = /content-type:\s*(\S+)/i.exec(headers)?.[1] ?? 'application/octet-stream'
      files.set(name, { name: filename, mime, size: content.length, bytes: new Uint8Array(content) })
    }
    at = end
  }
  // Without the closing mark the upload was cut off.
  if (whole.indexOf(`--${boundary}--`) < 0) throw new Refusal(400, 'Bad Request: the multipart body is not complete')
  return { params, files }
}

/** A parameter as text; JSON clients may send numbers. */
export function text(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'number' ? String(value) : ''
}

export function integer(value: unknown, fallback: number): number {
  const number = Number(text(value))
  return text(value) !== '' && Number.isSafeInteger(number) ? number : fallback
}

export function isTrue(value: unknown): boolean {
  return value === true || value === 'true' || value === 'True' || value === '1'
}

/** A parameter that is an object or the JSON of one. */
export function object(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  if (typeof value !== 'string' || value === '') return undefined
  try {
    const parsed: unknown = JSON.parse(value)
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : undefined
  } catch {
    throw new Refusal(400, "Bad Request: can't parse JSON object")
  }
}
