/** Servers beside us that we can do without: while one is away, more work is done here, and nothing is lost. */
import type { Bilingual } from '@posthouse/contract'

export const outsideNames = {
  broker: { en: 'Broker', zh: '消息代理' },
  redis: { en: 'Redis', zh: 'Redis' },
  discovery: { en: 'etcd', zh: 'etcd' },
} as const satisfies Readonly<Record<string, Bilingual>>
export type OutsideName = keyof typeof outsideNames

/** What can be wrong with one, with what it means for the operator. */
export const outsideProblems = {
  unreachable: { en: 'cannot be reached; it is tried again and again', zh: '无法连接，正在不断重试' },
  refused: { en: 'answers, but does not let us work; see the log', zh: '有响应但拒绝我们的操作，请查看日志' },
  blocked: { en: 'takes nothing while it is short of memory or disk', zh: '内存或磁盘不足，暂不接收任务' },
  silent: { en: 'is connected, but does not answer', zh: '已连接，但没有响应' },
} as const satisfies Readonly<Record<string, Bilingual>>
export type OutsideProblem = keyof typeof outsideProblems

export interface Outside {
  /** Undefined: it answers. */
  readonly problem: OutsideProblem | undefined
}
