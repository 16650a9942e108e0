/** Reading what nobody promised: untrusted JSON, one field at a time. */
import { PosthouseError } from './errors.ts'

export type Fields = Readonly<Record<string, unknown>>

/** The fields of an object; none of anything else. */
export function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {}
}

/** A text; empty for anything else. */
export function textIn(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** A list; empty for anything else. */
export function listIn(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** A text that must be there, as ids are. @throws PosthouseError `invalid` when it is missing, or longer than `most` */
export function required(value: unknown, name: string, most = 256): string {
  if (typeof value === 'string' && value !== '' && value.length <= most) return value
  throw new PosthouseError('invalid', `${name} is missing`)
}

/** @throws PosthouseError `invalid` */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    throw new PosthouseError('invalid', 'this is no UTF-8', { cause: error })
  }
}

/** @throws PosthouseError `invalid` */
export function parseJson(source: Uint8Array | string): unknown {
  const text = typeof source === 'string' ? source : decodeUtf8(source)
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new PosthouseError('invalid', 'this is no JSON', { cause: error })
  }
}

/** An object in JSON; undefined for anything else, such as the page of a proxy. */
export function parseObject(text: string): Fields | undefined {
  const value = parseKept<unknown>(text)
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined
}

/** What we wrote down ourselves, in the account's state or a file's `ref`; undefined when it is not there, or damaged. */
export function parseKept<T>(text: string | undefined): T | undefined {
  try {
    return text === undefined ? undefined : (JSON.parse(text) as T)
  } catch {
    return undefined
  }
}
