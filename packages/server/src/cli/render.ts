/** `posthouse channel render`: the platform messages that a text would become, without sending any. */
import { type ChannelHost, FetchError } from '@posthouse/contract'
import { parseMarkdown } from '../pipeline/index.ts'
import { platformCrypto } from '../security/index.ts'
import type { Call, Options } from './call.ts'
import { openLone, textOf } from './lone.ts'
import { CliError } from './terminal.ts'

export async function renderMarkdown(call: Call, [type = '']: readonly string[], options: Options): Promise<void> {
  const { terminal } = call
  const { channel, settings } = openLone(call, type, options)
  const path = typeof options.markdown === 'string' ? options.markdown : ''
  if (path === '')
    throw new CliError(terminal.t({ en: '--markdown FILE is needed.', zh: '需要 --markdown 文件。' }), 2, 'posthouse channel render --help')
  const text = textOf(path, terminal.t)
  const leaving = new AbortController()
  await using connection = await channel.open(settings, unplugged(type), leaving.signal)
  leaving.abort()
  const pieces = connection.render({ id: 'rendered', to: { room: 'room', type: 'direct' }, text, document: parseMarkdown(text) })
  for (const piece of pieces)
    process.stdout.write(`${JSON.stringify({ text: piece.text, format: piece.format, payload: piece.payload })}\n`)
}

/** A host that reaches nothing and keeps nothing. */
function unplugged(account: string): ChannelHost {
  const quiet = () => {}
  const never = async (): Promise<never> => {
    throw new FetchError('connect', 'nothing is reached while rendering')
  }
  return {
    account,
    log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    state: { get: async () => undefined, set: async () => {}, swap: async () => true },
    routes: { url: undefined, webhook: quiet },
    fetch: never,
    connect: never,
    crypto: platformCrypto,
    receive: never,
    received: quiet,
    report: quiet,
  }
}
