/** `posthouse user`: a forgotten password, with the gateway running or not. */
import { readFileSync } from 'node:fs'
import { hashPassword, passwordRule } from '../security/index.ts'
import type { Call } from './call.ts'
import { loadLocal, openLocal } from './local.ts'
import { CliError } from './terminal.ts'

export async function setPassword(
  call: Call,
  [name = '']: readonly string[],
  options: Readonly<Record<string, string | boolean | undefined>>,
): Promise<void> {
  const { terminal } = call
  const { t } = terminal
  await using opened = await openLocal(loadLocal(call))
  const user = await opened.store.users.byName(name)
  if (!user) throw new CliError(t({ en: `There is no account "${name}".`, zh: `没有名为“${name}”的账户。` }), 1)
  await opened.store.users.changePassword(user.id, await hashPassword(await readPassword(options.passwordFile, terminal)))
  terminal.result(
    { changed: name },
    t({
      en: `${name} has a new password. Everybody signed in as ${name} must sign in again.`,
      zh: `${name} 的密码已更新，所有已登录的设备需要重新登录。`,
    }),
    'posthouse status',
  )
}

/** From a file, or asked for at a terminal. It is never an argument: those can be seen by others. */
export async function readPassword(file: string | boolean | undefined, { t }: Call['terminal']): Promise<string> {
  let password: string
  if (typeof file === 'string') password = readFileSync(file, 'utf8').trimEnd()
  else if (process.stdin.isTTY) {
    const { password: ask, isCancel } = await import('@clack/prompts')
    const answer = await ask({ message: t({ en: 'New password', zh: '新密码' }) })
    if (isCancel(answer)) throw new CliError(t({ en: 'Cancelled; nothing was changed.', zh: '已取消，未作任何更改。' }))
    password = answer
  } else throw new CliError(t({ en: 'No terminal to ask at: give --password-file.', zh: '没有可交互的终端：请使用 --password-file。' }), 2)
  if (password.length < passwordRule.least || password.length > passwordRule.most) {
    throw new CliError(
      t({ en: `A password has at least ${passwordRule.least} characters.`, zh: `密码至少需要 ${passwordRule.least} 个字符。` }),
      2,
    )
  }
  return password
}
