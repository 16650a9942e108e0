/** `posthouse send`: a message of the operator's, promised in the outbox; the running gateway delivers it. */
import { createReadStream, statSync } from 'node:fs'
import { basename, extname, join } from 'node:path'
import type { FileKind, FileRef, Part } from '@posthouse/contract'
import { newId } from '../base/ids.ts'
import { createBlobs } from '../storage/index.ts'
import type { Call } from './call.ts'
import { askGateway, type Local, type LocalStore, loadLocal, openLocal } from './local.ts'
import { CliError } from './terminal.ts'

export async function send(
  call: Call,
  [account = '', room = '', text = '']: readonly string[],
  options: Readonly<Record<string, string | boolean | undefined>>,
): Promise<void> {
  const local = loadLocal(call)
  const { terminal } = call
  const { t } = terminal
  if (!local.config.accounts.some(({ id }) => id === account)) {
    throw new CliError(t({ en: `There is no account "${account}".`, zh: `没有账号“${account}”。` }), 2, 'posthouse channel list')
  }
  const path = typeof options.file === 'string' ? options.file : undefined
  const event = eventIn(options, t)
  if (text.trim() === '' && path === undefined && !event)
    throw new CliError(t({ en: 'The text is empty.', zh: '内容为空。' }), 2, 'posthouse send --help')
  await using opened = await openLocal(local, { create: true })
  const place = {
    room,
    type: options.group === true || room.startsWith('-') ? ('group' as const) : ('direct' as const),
    ...(typeof options.thread === 'string' ? { thread: options.thread } : {}),
  }
  const conversation = await opened.store.conversations.at(account, place, undefined)
  const id = newId()
  const file = path === undefined ? undefined : await keepFile(local, opened, path, conversation.id)
  const said = text === '' && event ? wordsOf(event) : text
  const parts: readonly Part[] = [
    ...(said === '' ? [] : [{ type: 'text', text: said } as const]),
    ...(event ? [event] : []),
    ...(file ? [{ type: 'file', file } as const] : []),
  ]
  await opened.store.outbox.stage(conversation, { id, role: 'assistant', parts, status: 'complete' }, { id, begun: false })
  const running = (await askGateway(local, '/healthz')) !== undefined
  terminal.result(
    { id, running },
    running
      ? t({ en: 'Promised; the gateway sends it within seconds.', zh: '已登记，网关将在数秒内发送。' })
      : t({
          en: 'Promised; it is sent when the gateway runs (within the freshness of the channel).',
          zh: '已登记，网关启动后发送（须在渠道的时效内）。',
        }),
    running ? 'posthouse status' : 'posthouse start',
  )
}

const TYPES: Readonly<Record<string, readonly [kind: FileKind, mime: string]>> = {
  '.png': ['image', 'image/png'],
  '.jpg': ['image', 'image/jpeg'],
  '.jpeg': ['image', 'image/jpeg'],
  '.gif': ['image', 'image/gif'],
  '.webp': ['image', 'image/webp'],
  '.mp3': ['audio', 'audio/mpeg'],
  '.ogg': ['voice', 'audio/ogg'],
  '.mp4': ['video', 'video/mp4'],
  '.pdf': ['file', 'application/pdf'],
}

/** Puts the file where the gateway finds it, as one of the conversation's. @throws CliError when it cannot be read */
async function keepFile({ config, terminal: { t } }: Local, { store, key }: LocalStore, path: string, owner: string): Promise<FileRef> {
  const found = statSync(path, { throwIfNoEntry: false })
  if (!found?.isFile())
    throw new CliError(t({ en: `${path}: there is no such file.`, zh: `${path}：文件不存在。` }), 2, 'posthouse send --help')
  const blobs = createBlobs(store.place(join(config.dataFolder, 'files')), key.derive('files'))
  const [kind, mime] = TYPES[extname(path).toLowerCase()] ?? ['file', 'application/octet-stream']
  const id = newId()
  const size = await blobs.put(id, createReadStream(path), config.resources.maxFile)
  const file = { id, kind, name: basename(path), mime, size }
  await store.files.add({ ...file, owner })
  return file
}

type Event = Extract<Part, { type: 'event' }>

/** @throws CliError when the content is no object of JSON */
function eventIn(options: Readonly<Record<string, string | boolean | undefined>>, t: Local['terminal']['t']): Event | undefined {
  if (typeof options.event !== 'string') return undefined
  try {
    const content: unknown = JSON.parse(typeof options.content === 'string' ? options.content : '{}')
    if (typeof content === 'object' && content !== null && !Array.isArray(content))
      return { type: 'event', event_type: options.event, content: content as Record<string, unknown> }
  } catch {
    // Told below, as what is no object is.
  }
  throw new CliError(t({ en: '--content: an object of JSON is expected.', zh: '--content：应为 JSON 对象。' }), 2, 'posthouse send --help')
}

/** What people read where the platform takes no events as such. */
function wordsOf({ event_type: type, content }: Event): string {
  const lines = Object.entries(content).map(
    ([name, value]) => `- ${name}: ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`,
  )
  return [`**${type}**`, '', ...lines].join('\n')
}
