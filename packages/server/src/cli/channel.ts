/** `posthouse channel`: which accounts are configured, and whether their platforms know us. */
import type { DeliveryError, Identity } from '@posthouse/contract'
import type { AccountConfig } from '../config/index.ts'
import { pause, pausesOf, resume } from '../ports/pauses.ts'
import { connect, createFetch, platformCrypto } from '../security/index.ts'
import { hasData } from '../storage/index.ts'
import type { Call, Options } from './call.ts'
import { type Local, loadLocal, openLocal } from './local.ts'
import { ago, CliError, table } from './terminal.ts'

const PATIENCE = 15_000

export async function listChannels(call: Call): Promise<void> {
  const local = loadLocal(call)
  const { config: loaded, loaded: all, terminal } = local
  const { t } = terminal
  const since = await pausesBeside(local)
  const rows = loaded.accounts.map(({ id, channel, allowedUsers }) => ({
    id,
    channel: channel.id,
    allowed: allowedUsers ? String(allowedUsers.size) : t({ en: 'everybody', zh: '所有人' }),
    paused: since(id),
    problem: '',
  }))
  const broken = new Map(all.problems.filter(({ account }) => account).map(({ account, text }) => [account ?? '', t(text)]))
  for (const [id, problem] of broken) rows.push({ id, channel: '', allowed: '', paused: undefined, problem })
  const paused = rows.find((row) => row.paused !== undefined)
  const now = Date.now()
  terminal.result(
    rows,
    rows.length > 0
      ? table(
          t({ en: 'account|channel|allowed|paused|problem', zh: '账号|渠道|允许|已暂停|问题' }).split('|'),
          rows.map(({ id, channel, allowed, paused: at, problem }) => [
            id,
            channel,
            allowed,
            at === undefined ? '' : ago(at, now),
            problem,
          ]),
        )
      : t({ en: 'No accounts besides the web chat.', zh: '除网页聊天外没有其他账号。' }),
    paused ? `posthouse channel resume ${paused.id}` : rows[0] ? `posthouse channel test ${rows[0].id}` : 'posthouse init',
  )
}

/** Since when an account is paused; nobody pauses before the first start. */
export async function pausesBeside(local: Local): Promise<(account: string) => number | undefined> {
  if (!(await hasData(local.config.database.url))) return () => undefined
  await using opened = await openLocal(local)
  return (await pausesOf(opened.store.settings)).since
}

export async function pauseChannel(call: Call, args: readonly string[], options: Options): Promise<void> {
  const local = loadLocal(call)
  const chosen = accountsIn(args, options, local)
  await using opened = await openLocal(local)
  await pause(opened.store.settings, chosen, Date.now())
  local.terminal.result(
    { paused: chosen ?? 'all' },
    local.terminal.t({
      en: `${chosen?.join(', ') ?? 'All accounts'}: paused. A running gateway stops receiving and sending within two seconds; the web chat goes on.`,
      zh: `${chosen?.join('、') ?? '全部账号'}：已暂停。运行中的网关会在两秒内停止收发；网页聊天不受影响。`,
    }),
    `posthouse channel resume ${chosen?.join(' ') ?? '--all'}`,
  )
}

export async function resumeChannel(call: Call, args: readonly string[], options: Options): Promise<void> {
  const local = loadLocal(call)
  const { terminal, config } = local
  const chosen = accountsIn(args, options, local)
  await using opened = await openLocal(local)
  const configured = config.accounts.map(({ id }) => id)
  await resume(opened.store.settings, chosen, configured)
  const { since } = await pausesOf(opened.store.settings)
  const still = configured.filter((id) => since(id) !== undefined)
  const dead = await opened.store.dead.count()
  terminal.result(
    { resumed: chosen ?? 'all', paused: still },
    terminal.t({
      en: `${chosen?.join(', ') ?? 'All accounts'}: receiving and sending again, within two seconds where the gateway runs.${still.length > 0 ? ` Still paused: ${still.join(', ')}.` : ''}`,
      zh: `${chosen?.join('、') ?? '全部账号'}：已恢复收发，运行中的网关会在两秒内生效。${still.length > 0 ? `仍暂停：${still.join('、')}。` : ''}`,
    }),
    dead > 0 ? 'posthouse dead list' : 'posthouse status',
  )
}

/** The accounts that are named; undefined: all. */
function accountsIn(args: readonly string[], { all }: Options, { config, terminal: { t } }: Local): readonly string[] | undefined {
  if ((args.length === 0) !== (all === true))
    throw new CliError(t({ en: 'Name an account, or give --all.', zh: '请指定账号，或使用 --all。' }), 2, 'posthouse channel list')
  const unknown = args.find((id) => !config.accounts.some((account) => account.id === id))
  if (unknown !== undefined)
    throw new CliError(t({ en: `There is no account "${unknown}".`, zh: `没有账号“${unknown}”。` }), 2, 'posthouse channel list')
  return all === true ? undefined : args
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
    terminal.t(
      identity
        ? {
            en: `${id}: the platform knows us as ${identity.name} (${identity.id}).`,
            zh: `${id}：平台识别我们为 ${identity.name}（${identity.id}）。`,
          }
        : {
            en: `${id}: the settings hold, and so do their samples; this platform cannot be asked who we are.`,
            zh: `${id}：设置及其样例均通过检查；该平台无法查询我们的身份。`,
          },
    ),
    'posthouse start',
  )
}

/** Asks the platform without receiving anything. @throws {CliError} with its words. */
export async function probeAccount(
  { id, channel, settings }: AccountConfig,
  signal: AbortSignal = AbortSignal.timeout(PATIENCE),
): Promise<Identity | undefined> {
  await using client = createFetch()
  try {
    return await channel.probe(settings, { fetch: client.fetch, connect, crypto: platformCrypto }, signal)
  } catch (error) {
    const { kind, message } = error as DeliveryError
    throw new CliError(`${id}: ${kind ?? 'failed'}: ${message}`, 1, 'posthouse doctor', error)
  }
}
