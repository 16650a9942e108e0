/** Files that people attach: up in one part, down as a download that no browser will run. */
import { extname } from 'node:path'
import { Readable } from 'node:stream'
import { type FileKind, isPosthouseError, PosthouseError } from '@posthouse/contract'
import type { FileView } from '@posthouse/contract/http'
import type { FastifyReply } from 'fastify'
import { fileTypeFromBuffer } from 'file-type'
import { z } from 'zod'
import type { StoredFile } from '../../ports/store.ts'
import type { Gateway } from '../gateway.ts'
import type { Routes } from './routes.ts'

/** Shown in the page; everything else is only ever downloaded. */
const INLINE = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp'])
const SNIFF = 4100
const NAME = 200
/** Bytes of a form around its file. */
const ROUND_ABOUT = 64 * 1024

export function fileRoutes(routes: Routes, gateway: Gateway, maxFile: number): void {
  const { store, blobs, guards, newId } = gateway

  routes.post(
    '/api/v1/files',
    {
      config: { policy: 'login', rateLimit: { max: 120, timeWindow: 60_000 } },
      bodyLimit: maxFile + ROUND_ABOUT,
      schema: { summary: 'Upload one file (multipart, field `file`)', consumes: ['multipart/form-data'] },
    },
    async (request): Promise<FileView> => {
      const { userId } = guards.authorize(request.principal, 'chat')
      if (!request.isMultipart()) throw new PosthouseError('invalid', 'multipart/form-data is expected')
      const part = await request.file().catch(refuseForm)
      if (part?.fieldname !== 'file') throw new PosthouseError('invalid', 'file: missing')
      const id = newId()
      const { head, bytes } = await peek(whole(part.file), SNIFF)
      if (head.length === 0) throw new PosthouseError('invalid', 'file: empty')
      const size = await blobs.put(id, bytes, maxFile, userId)
      const mime = (await fileTypeFromBuffer(head))?.mime ?? textMime(part.filename, head)
      const file = { id, owner: userId, kind: kindOf(mime), name: cleanName(part.filename), mime, size }
      await store.files.add(file)
      return { id, kind: file.kind, name: file.name, mime, size }
    },
  )

  routes.get(
    '/api/v1/files/:id',
    { config: { policy: 'login' }, schema: { summary: 'Download', params: z.object({ id: z.uuid() }) } },
    async (request, reply) => {
      const file = await store.files.find(request.params.id)
      // A file of a conversation is its owner's: files fetched from a chat tool belong to the conversation.
      const conversation = file && (await store.conversations.find(file.owner))
      guards.authorize(request.principal, 'own', { owner: conversation ? conversation.owner : file?.owner })
      if (!file) throw new PosthouseError('not-found')
      return await serve(reply, file, 'private, max-age=31536000, immutable')
    },
  )

  routes.get(
    '/api/files/:id/:expires/:signature',
    {
      config: { policy: 'link', rateLimit: { max: 120, timeWindow: 60_000 } },
      schema: {
        summary: 'Download by a signed address, as it is sent where a file is too large for the platform',
        params: z.object({ id: z.string(), expires: z.string(), signature: z.string() }),
      },
    },
    async (request, reply) => {
      const { id, expires, signature } = request.params
      if (!guards.checkLink(id, Number(expires), signature))
        throw new PosthouseError('unauthorized', 'this address is not ours, or its time is over')
      const file = await store.files.find(id)
      if (!file) throw new PosthouseError('not-found')
      return await serve(reply, file, 'private, no-store')
    },
  )

  const serve = (reply: FastifyReply, { id, name, mime, size }: StoredFile, cache: string) =>
    reply
      .header('content-type', INLINE.has(mime) ? mime : 'application/octet-stream')
      .header('content-length', size)
      .header('content-disposition', `${INLINE.has(mime) ? 'inline' : 'attachment'}; filename*=UTF-8''${encodeName(name)}`)
      .header('x-content-type-options', 'nosniff')
      .header('content-security-policy', "sandbox; default-src 'none'")
      .header('cache-control', cache)
      .send(Readable.from(blobs.get(id)))
}

/** The bytes of a form's file. @throws PosthouseError `too-large` as soon as there are too many, `invalid` when the form breaks off. */
async function* whole(file: Readable): AsyncGenerator<Buffer> {
  // The parser itself would swallow the rest of the form first, however long that is.
  file.once('limit', () => file.destroy(new PosthouseError('too-large')))
  try {
    yield* file
  } catch (error) {
    refuseForm(error)
  }
}

/** What is wrong with a form is the caller's; the parser's own errors have no status. */
function refuseForm(error: unknown): never {
  if (isPosthouseError(error) || (error as { statusCode?: number }).statusCode) throw error
  throw new PosthouseError('invalid', 'the form is malformed or cut off', { cause: error })
}

/** RFC 8187: all but letters, digits and a few marks as percent-encoded UTF-8. */
function encodeName(name: string): string {
  return encodeURIComponent(name.toWellFormed()).replace(/['()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** Reads the first bytes without losing them. */
async function peek(stream: AsyncIterable<Buffer>, length: number): Promise<{ head: Buffer; bytes: AsyncIterable<Uint8Array> }> {
  const iterator = stream[Symbol.asyncIterator]()
  const first: Buffer[] = []
  let size = 0
  let ended = false
  while (size < length && !ended) {
    const next = await iterator.next()
    if (next.done) ended = true
    else {
      first.push(next.value)
      size += next.value.length
    }
  }
  async function* all() {
    yield* first
    if (!ended) for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value
  }
  return { head: Buffer.concat(first), bytes: all() }
}

/** Plain text has no magic bytes: it is told by having none that text has not, and by its name. */
function textMime(filename: string, head: Buffer): string {
  if (head.includes(0)) return 'application/octet-stream'
  const types: Record<string, string> = {
    '.md': 'text/markdown',
    '.csv': 'text/csv',
    '.json': 'application/json',
    '.yaml': 'application/yaml',
    '.yml': 'application/yaml',
  }
  return types[extname(filename).toLowerCase()] ?? 'text/plain'
}

function kindOf(mime: string): FileKind {
  const major = mime.split('/')[0]
  return INLINE.has(mime) ? 'image' : major === 'audio' ? 'audio' : major === 'video' ? 'video' : 'file'
}

/** A name is only ever shown: no path, no control characters, no direction tricks, no letters that nobody sees. */
function cleanName(name: string): string {
  const base = name.split(/[\\/]/).at(-1) ?? ''
  const shown = [...base.replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029\u{E0000}-\u{E007F}]/gu, '')]
    .slice(-NAME)
    .join('')
    .toWellFormed()
    .trim()
  return /^\.*$/.test(shown) ? 'file' : shown
}
