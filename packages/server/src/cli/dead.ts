/** `posthouse dead`: what could not get its outcome by itself. The running gateway sees a retry within seconds. */

import type { Call } from './call.ts'
import { loadLocal, openLocal } from './local.ts'
import { ago, CliError, plain, table } from './terminal.ts'

const MOST = 200

export async function listDead(call: Call): Promise<void> {
  const { terminal } = call
  await using opened = await openLocal(loadLocal(call))
  const { dead } = opened.store
  const [total, letters] = [await dead.count(), await dead.list(MOST)]
  const now = Date.now()
  const { t } = terminal
  const text =
    total === 0
      ? t({ en: 'No dead letters.', zh: '没有死信。' })
      : table(
          t({ en: 'id|kind|account|reason|age|text', zh: 'ID|类型|账号|原因|时间|内容' }).split('|'),
          letters.map((letter) => [
            letter.id,
            letter.kind,
            letter.account,
            plain(`${letter.reason}${letter.detail ? `: ${letter.detail}` : ''}`, 50),
            ago(letter.at, now),
            plain(letter.text, 40),
          ]),
        )
  terminal.result({ total, dead: letters }, text, total === 0 ? 'posthouse status' : `posthouse dead retry ${letters[0]?.id}`)
}

export async function retryDead(call: Call, ids: readonly string[]): Promise<void> {
  await change(call, ids, 'retry', { en: 'goes again', zh: '已重新投入处理' })
}

export async function dropDead(call: Call, ids: readonly string[]): Promise<void> {
  await change(call, ids, 'drop', { en: 'was given up', zh: '已放弃' })
}

async function change(call: Call, ids: readonly string[], action: 'retry' | 'drop', done: { en: string; zh: string }): Promise<void> {
  const { terminal } = call
  await using opened = await openLocal(loadLocal(call))
  const unknown: string[] = []
  for (const id of ids) if (!(await opened.store.dead[action](id))) unknown.push(id)
  if (unknown.length > 0) {
    throw new CliError(
      terminal.t({ en: `There is no dead letter ${unknown.join(', ')}.`, zh: `没有这封死信：${unknown.join('、')}。` }),
      1,
      'posthouse dead list',
    )
  }
  terminal.result({ [action]: ids }, ids.map((id) => `${id} ${terminal.t(done)}`).join('\n'), 'posthouse dead list')
}
