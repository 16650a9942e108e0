/** `posthouse channel`: which accounts are configured, and whether their platforms know us. */
import type { DeliveryError, Identity } from '@posthouse/contract'
import type { AccountConfig } from '../config/index.ts'
import { createFetch } from '../security/index.ts'
import type { Call } from './call.ts'
import { loadLocal } from './local.ts'
import { CliError, table } from './terminal.ts'

const PATIENCE = 15_000

export async function listChannels(call: Call): Promise<void> {
  const { config: loaded, loaded: all } = loadLocal(call)
  const { terminal } = call
  const { t } = terminal
  const everybody = t({ en: 'everybody', zh: '所有人' })
  const rows = loaded.accounts.map(({ id, channel, allowedUsers }) => [
    id,
    channel.id,
    allowedUsers ? String(allowedUsers.size) : everybody,
    '',
  ])
  const broken = new Map(all.problems.filter(({ account }) => account).map(({ account, text }) => [account ?? '', t(text)]))
  for (const [id, text] of broken) rows.push([id, '', '', text])
  terminal.result(
    rows.map(([id, channel, allowed, problem]) => ({ id, channel, allowed, problem })),
    rows.length > 0
      ? table(t({ en: 'account|channel|allowed|problem', zh: '账号|渠道|允许|问题' }).split('|'), rows)
      : t({ en: 'No accounts besides the web chat.', zh: '除网页聊天外没有其他账号。' }),
    rows[0] ? `posthouse channel test ${rows[0][0]}` : 'posthouse init',
  )
}

export async function testChannel(call: Call, [id = '']: readonly string[]): Promise<void> {
  const { terminal } = call
  const { config: loaded, loaded: all } = loadLocal(call)
  const account = loaded.accounts.find((candidate) => candidate.id === id)
  const problem = all.problems.find((candidate) => candidate.account === id)
  if (problem) throw new CliError(terminal.t(problem.text), 2, 'posthouse config check')
  if (!account) throw new CliError(terminal.t({ en: `There is no account "${id}".`, zh: `没有账号“${id}”。` }), 2, 'posthouse channel list')
  const identity = await probeAccount(account)
  terminal.result(
    { account: id, ...identity },
    terminal.t({
      en: `${id}: the platform knows us as ${identity.name} (${identity.id}).`,
      zh: `${id}：平台识别我们为 ${identity.name}（${identity.id}）。`,
    }),
    'posthouse start',
  )
}

/** Asks the platform without receiving anything. @throws {CliError} with its words. */
export async function probeAccount(
  { id, channel, settings }: AccountConfig,
  signal: AbortSignal = AbortSignal.timeout(PATIENCE),
): Promise<Identity> {
  await using client = createFetch()
  try {
    return await channel.probe(settings, { fetch: client.fetch }, signal)
  } catch (error) {
    const { kind, message } = error as DeliveryError
    throw new CliError(`${id}: ${kind ?? 'failed'}: ${message}`, 1, 'posthouse doctor', error)
  }
}
