/** What differs between the two formats, as a table of functions; and what the formats share. */
import type { Failure, Question, RefusedRequest, Reply, WireName } from './script.ts'
import { Refused } from './script.ts'

export interface Usage {
  readonly input: number
  readonly output: number
  readonly cached: number
}

/** Writes one answer, frame by frame. */
export interface Frames {
  readonly head: string
  /** One frame per token. */
  readonly tokens: readonly string[]
  readonly tail: string
  /** An error within the stream. */
  error(failure: Failure): string
}

export interface Wire {
  readonly name: WireName
  /** Throws {@link Refused} for what the provider refuses. */
  read(body: Record<string, unknown>, headers: Readonly<Record<string, string | string[] | undefined>>): Question
  keyOf(headers: Readonly<Record<string, string | string[] | undefined>>): string | undefined
  refusal(refusal: RefusedRequest): unknown
  /** The refusal that belongs to a status. */
  forStatus(status: number, code?: string, message?: string): RefusedRequest
  frames(id: string, question: Question, reply: Reply, usage: Usage): Frames
  whole(id: string, question: Question, reply: Reply, usage: Usage): unknown
}

export type Json = Record<string, unknown>

export function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A check that throws the provider's refusal. */
export function demand(holds: boolean, message: string, more: Partial<RefusedRequest> = {}): asserts holds {
  if (!holds) throw new Refused({ status: 400, type: 'invalid_request_error', message, ...more })
}

const magic: Readonly<Record<string, readonly number[]>> = {
  'image/png': [0x89, 0x50, 0x4e, 0x47],
  'image/jpeg': [0xff, 0xd8, 0xff],
  'image/gif': [0x47, 0x49, 0x46, 0x38],
  'image/webp': [0x52, 0x49, 0x46, 0x46],
}

/** Whether base64 text is a picture of the declared kind. */
export function isPicture(mime: string, data: string): boolean {
  const first = magic[mime]
  if (!first || data.length === 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(data)) return false
  const bytes = Buffer.from(data.slice(0, 16), 'base64')
  return first.every((byte, index) => bytes[index] === byte)
}

/** Splits a text into its chunks, whole characters each. */
export function chunksOf(text: string, pace: { readonly chunkSize?: number; readonly chunks?: number }): readonly string[] {
  if (text === '') return []
  const size = pace.chunks === undefined ? (pace.chunkSize ?? 8) : Math.max(1, Math.ceil([...text].length / pace.chunks))
  return text.match(new RegExp(`.{1,${size}}`, 'gsu')) ?? []
}

/** Arguments as a model writes them. */
export function argumentText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** A rough count, as good as any: four characters to a token. */
export function tokensIn(text: string): number {
  return Math.ceil(text.length / 4)
}

/** Splits in pieces of at most `size` units; for arguments of tool calls. */
export function slices(text: string, size: number): readonly string[] {
  const result: string[] = []
  for (let start = 0; start < text.length; start += size) result.push(text.slice(start, start + size))
  return result
}

export function header(headers: Readonly<Record<string, string | string[] | undefined>>, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value[0] : value
}
