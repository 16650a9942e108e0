/** Accounts in words, as the nodes that are alive find them. */
import type { AccountOfNode } from '../channels/index.ts'
import { ago, plain, type Terminal, type Words } from './terminal.ts'

const states: Readonly<Record<AccountOfNode['state'], Words>> = {
  starting: { en: 'starting', zh: '启动中' },
  standby: { en: 'leaves receiving to another node', zh: '由其他节点接收' },
  connected: { en: 'connected', zh: '已连接' },
  degraded: { en: 'does not work', zh: '无法工作' },
  'needs-auth': { en: 'its credentials are refused', zh: '凭据被拒绝' },
  conflict: { en: 'another program receives in its place', zh: '另有程序在接收' },
  'rate-limited': { en: 'slowed down by the platform', zh: '被平台限流' },
  paused: { en: 'paused', zh: '已暂停' },
}

/** Nobody is heard there until somebody sees to it. */
export const isDeaf = ({ state }: AccountOfNode): boolean => state === 'degraded' || state === 'needs-auth' || state === 'conflict'

/** One line for each account; with several nodes, what each of them says. */
export function accountLines(all: readonly AccountOfNode[], { t }: Terminal, now: number): readonly string[] {
  const several = new Set(all.map(({ node }) => node)).size > 1
  return [...Map.groupBy(all, ({ id }) => id)].map(([id, found]) => {
    const parts = found.map(({ node, state, problem, lastReceived }) => {
      const heard = lastReceived === undefined ? undefined : ago(lastReceived, now)
      const reason = problem ? `: ${plain(problem, 300)}` : ''
      return t({
        en: `${several ? `${node}: ` : ''}${states[state].en}${reason}${heard ? `, heard ${heard} ago` : ''}`,
        zh: `${several ? `${node}：` : ''}${states[state].zh}${reason}${heard ? `，${heard} 前有消息` : ''}`,
      })
    })
    const channel = found[0]?.channel ?? ''
    const called = channel === id ? id : t({ en: `${id} (${channel})`, zh: `${id}（${channel}）` })
    return t({ en: `Account ${called}: ${parts.join('; ')}`, zh: `账号 ${called}：${parts.join('；')}` })
  })
}
