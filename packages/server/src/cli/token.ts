/** `posthouse token`: what programs show to be let in. A token is printed once and stored nowhere. */
import { systemClock } from '../base/clock.ts'
import { newId } from '../base/ids.ts'
import { type Scope, scopes } from '../ports/guards.ts'
import { createTokens } from '../security/index.ts'
import type { Call, Options } from './call.ts'
import { addressOf, loadLocal, openLocal } from './local.ts'
import { ago, CliError, plain, table } from './terminal.ts'

const UNITS: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 }
const LONGEST = 3650 * 86_400_000

export async function createToken(call: Call, _args: readonly string[], options: Options): Promise<void> {
  const { terminal } = call
  const { t } = terminal
  const local = loadLocal(call)
  const wanted = String(options.scopes ?? 'chat')
    .split(',')
    .map((scope) => scope.trim())
  const unknown = wanted.filter((scope) => !(scopes as readonly string[]).includes(scope))
  if (unknown.length > 0)
    throw new CliError(
      t({
        en: `--scopes: ${unknown.join(', ')} is not one of ${scopes.join(', ')}.`,
        zh: `--scopes：${unknown.join('、')} 不在可选值之中：${scopes.join('、')}。`,
      }),
      2,
      'posthouse token create --help',
    )
  const match = /^(\d+)([mhd])$/.exec(String(options.expires ?? '90d'))
  const lifetime = Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? Number.NaN)
  if (!(lifetime > 0 && lifetime <= LONGEST))
    throw new CliError(
      t({
        en: '--expires: a number with m, h or d is expected, at most 3650d; for example 2h or 90d.',
        zh: '--expires：应为带 m、h 或 d 的数字，最多 3650d；例如 2h 或 90d。',
      }),
      2,
      'posthouse token create --help',
    )
  await using opened = await openLocal(local, { create: true })
  const { users } = opened.store
  const user = typeof options.user === 'string' ? await users.byName(options.user) : await users.first()
  if (typeof options.user === 'string' && !user)
    throw new CliError(t({ en: `--user: there is no account "${options.user}".`, zh: `--user：没有名为“${options.user}”的账户。` }), 1)
  const tokens = createTokens({ users, key: opened.key, clock: systemClock, newId })
  const name = String(options.name ?? 'unnamed')
  const made = await tokens.create({ name, userId: user?.id ?? newId(), scopes: wanted as Scope[], lifetime })
  const until = new Date(made.expiresAt).toISOString()
  terminal.result(
    { id: made.id, token: made.token, name, scopes: wanted, expiresAt: until },
    `${made.token}\n${terminal.t({ en: `Shown only now. Valid until ${until}; scopes: ${wanted.join(', ')}.`, zh: `仅显示这一次。有效期至 ${until}；权限：${wanted.join('、')}。` })}`,
    `curl -H "Authorization: Bearer <token>" -d '{"query":"hello"}' -H 'content-type: application/json' ${addressOf(local.config)}/api/v1/chat`,
  )
}

export async function listTokens(call: Call): Promise<void> {
  const { terminal } = call
  await using opened = await openLocal(loadLocal(call))
  const tokens = await opened.store.users.tokens()
  const now = Date.now()
  const state = (token: (typeof tokens)[number]) => (token.revokedAt ? 'revoked' : token.expiresAt < now ? 'expired' : 'valid')
  const rows = tokens.map((token) => [token.id, plain(token.name), token.scopes.join(','), state(token), ago(token.createdAt, now)])
  const head = terminal.t({ en: 'id|name|scopes|state|age', zh: 'ID|名称|权限|状态|时间' }).split('|')
  terminal.result(
    tokens.map((token) => ({ ...token, state: state(token) })),
    rows.length > 0 ? table(head, rows) : terminal.t({ en: 'No tokens.', zh: '没有令牌。' }),
    'posthouse token create --name NAME',
  )
}

export async function revokeToken(call: Call, [id = '']: readonly string[]): Promise<void> {
  const { terminal } = call
  await using opened = await openLocal(loadLocal(call))
  if (!(await opened.store.users.revokeToken(id)))
    throw new CliError(terminal.t({ en: `There is no valid token ${id}.`, zh: `没有有效的令牌 ${id}。` }), 1, 'posthouse token list')
  terminal.result(
    { revoked: id },
    terminal.t({ en: `${id} is void within a second.`, zh: `${id} 将在一秒内失效。` }),
    'posthouse token list',
  )
}
