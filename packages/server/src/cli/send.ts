/** `posthouse send`: a message of the operator's, promised in the outbox; the running gateway delivers it. */
import { newId } from '../base/ids.ts'
import type { Call } from './call.ts'
import { askGateway, loadLocal, openLocal } from './local.ts'
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
  if (text.trim() === '') throw new CliError(t({ en: 'The text is empty.', zh: '内容为空。' }), 2, 'posthouse send --help')
  await using opened = await openLocal(local, { create: true })
  const place = {
    room,
    type: options.group === true || room.startsWith('-') ? ('group' as const) : ('direct' as const),
    ...(typeof options.thread === 'string' ? { thread: options.thread } : {}),
  }
  const conversation = await opened.store.conversations.at(account, place, undefined)
  const id = newId()
  await opened.store.outbox.stage(
    conversation,
    { id, role: 'assistant', parts: [{ type: 'text', text }], status: 'complete' },
    { id, begun: false },
  )
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
