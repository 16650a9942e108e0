/** Files of a message: fetched once from the platform, kept sealed, and shown to the model as far as it can take them. */
import { type Connection, type FileRef, isPosthouseError, type ModelContent, type Part } from '@posthouse/contract'
import type { StoredMessage } from '../../ports/store.ts'
import { noticeText } from './notices.ts'
import { connectionOf, type TurnWork } from './work.ts'

/** A file of this turn that could not be had, with what the person is told. */
export interface FetchedFile {
  readonly messageId: string
  readonly problem: string
}

/** Bytes that a model is shown of an image, and of a text file. */
const MOST_IMAGE = 8 * 1024 * 1024
const MOST_TEXT = 256 * 1024
const CONNECTED_WITHIN = 30_000
const LOOK_AGAIN = 100
const IMAGES = new Set(['image/png', 'image/jpeg', 'image/gif', 'image/webp'])
const TEXT = /^(text\/|application\/(json|xml|yaml|x-yaml|toml|javascript|x-sh|sql|csv))/
const TEXT_NAME = /\.(txt|md|csv|tsv|json|ya?ml|toml|xml|html?|log|ini|conf|ts|tsx|js|jsx|py|go|rs|java|c|h|cpp|sh|sql)$/i

/** Fetches what the messages refer to; answers what could not be had. */
export async function fetchFiles(work: TurnWork): Promise<readonly FetchedFile[]> {
  const problems: FetchedFile[] = []
  for (const message of work.turn.messages) {
    const parts: Part[] = []
    let changed = false
    for (const part of message.body.parts) {
      if (part.type !== 'file' || part.file.id || !part.file.ref) {
        parts.push(part)
        continue
      }
      try {
        parts.push({ type: 'file', file: await fetchFile(work, part.file) })
        changed = true
      } catch (error) {
        if (work.signal.aborted) throw error
        work.parts.log.warn({ err: error, conversation: work.turn.conversation.id }, 'a file could not be fetched')
        const reason = isPosthouseError(error)
          ? (error.detail ?? error.code)
          : work.language === 'zh'
            ? '平台未能提供'
            : 'the platform did not hand it over'
        problems.push({ messageId: message.id, problem: noticeText('fileFailed', work.language, part.file.name, reason) })
        parts.push(part)
      }
    }
    if (changed) {
      await work.parts.store.conversations.rewrite(message, parts)
      Object.assign(message.body, { parts })
    }
  }
  return problems
}

async function fetchFile(work: TurnWork, file: FileRef): Promise<FileRef> {
  const { account, parts, turn, signal } = work
  const connection = await connected(work)
  if (!account || !connection?.download) throw new Error(connection ? 'the channel has no files' : 'the account is not connected')
  const limit = account.capabilities.download
  const id = parts.newId()
  let type = file.mime
  const download = await connection.download(file, limit, signal)
  const { name = file.name } = download
  const bytes = noticing(download, (first) => {
    if (file.kind === 'image') type = imageTypeOf(first) ?? type
  })
  const size = await parts.blobs.put(id, bytes, limit, turn.conversation.id)
  const stored = { id, owner: turn.conversation.id, kind: file.kind, name, mime: type ?? 'application/octet-stream', size }
  await parts.store.files.add(stored)
  return { ...file, name, id, size, ...(type === undefined ? {} : { mime: type }) }
}

async function* noticing(bytes: AsyncIterable<Uint8Array>, notice: (first: Uint8Array) => void): AsyncGenerator<Uint8Array> {
  let first = true
  for await (const chunk of bytes) {
    if (first) notice(chunk)
    first = false
    yield chunk
  }
}

/** What an image is by its first bytes: some platforms do not tell, and some models refuse what is not as declared. */
function imageTypeOf(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(bytes.subarray(0, 12)).toString('latin1')
  if (head.startsWith('\x89PNG')) return 'image/png'
  if (head.startsWith('\xff\xd8\xff')) return 'image/jpeg'
  if (head.startsWith('GIF8')) return 'image/gif'
  return /^RIFF....WEBP/s.test(head) ? 'image/webp' : undefined
}

/** The connection, waited for: after a restart a turn may begin before its account is open again. */
async function connected(work: TurnWork): Promise<Connection | undefined> {
  const { clock } = work.parts
  const until = clock.elapsed() + CONNECTED_WITHIN
  for (;;) {
    const connection = connectionOf(work)
    if (connection || !work.account || work.signal.aborted || clock.elapsed() > until) return connection
    await clock.sleep(LOOK_AGAIN, work.signal)
  }
}

/** What the model gets of a message's files. */
export async function readFiles(
  work: TurnWork,
  message: StoredMessage,
  problems: readonly FetchedFile[],
  vision: boolean,
): Promise<readonly ModelContent[]> {
  const content: ModelContent[] = []
  for (const part of message.body.parts) {
    if (part.type !== 'file') continue
    const { file } = part
    const mime = file.mime ?? ''
    if (file.id && vision && IMAGES.has(mime) && (file.size ?? 0) <= MOST_IMAGE) {
      content.push({ type: 'image', mime, data: await bytesOf(work, file.id) })
    } else if (file.id && (TEXT.test(mime) || TEXT_NAME.test(file.name)) && (file.size ?? 0) <= MOST_TEXT) {
      const text = (await bytesOf(work, file.id)).toString('utf8')
      content.push({ type: 'text', text: `[file ${file.name}]\n${text}\n[end of file]` })
    } else content.push({ type: 'text', text: `[${file.kind} ${file.name}: its content is not available to you]` })
  }
  if (problems.some((problem) => problem.messageId === message.id)) content.push({ type: 'text', text: '[a file could not be fetched]' })
  return content
}

async function bytesOf({ parts }: TurnWork, id: string): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of parts.blobs.get(id)) chunks.push(chunk)
  return Buffer.concat(chunks)
}
