/** What a check is and what it finds. */
import type { Words } from '../terminal.ts'

export type State = 'ok' | 'warn' | 'fail'
export type Group = 'host' | 'configuration' | 'database' | 'key' | 'outside' | 'models' | 'tools' | 'channels' | 'gateway'

export interface Finding {
  readonly group: Group
  /** A stable word for programs: `node`, `port`, an account's or endpoint's name. */
  readonly name: string
  readonly state: State
  /** One line. */
  readonly cause: Words
  /** A command to run, or what to change. */
  readonly remedy?: string | Words
}

export interface Check {
  readonly group: Group
  readonly name: string
  run(signal: AbortSignal): Promise<readonly Finding[]>
}

export const groups: readonly { readonly id: Group; readonly name: Words }[] = [
  { id: 'host', name: { en: 'Host', zh: '主机' } },
  { id: 'configuration', name: { en: 'Configuration', zh: '配置' } },
  { id: 'database', name: { en: 'Database', zh: '数据库' } },
  { id: 'key', name: { en: 'Key', zh: '密钥' } },
  { id: 'outside', name: { en: 'Broker and Redis', zh: '消息代理与 Redis' } },
  { id: 'models', name: { en: 'Models', zh: '模型' } },
  { id: 'tools', name: { en: 'Servers of tools', zh: '工具服务器' } },
  { id: 'channels', name: { en: 'Channels', zh: '渠道' } },
  { id: 'gateway', name: { en: 'Gateway', zh: '网关' } },
]

export function worst(findings: readonly Finding[]): State {
  if (findings.some(({ state }) => state === 'fail')) return 'fail'
  return findings.some(({ state }) => state === 'warn') ? 'warn' : 'ok'
}

type Answer = Pick<Finding, 'state' | 'cause' | 'remedy'>

/** A check with one finding. */
export function check(group: Group, name: string, find: (signal: AbortSignal) => Answer | Promise<Answer>): Check {
  return { group, name, run: async (signal) => [{ group, name, ...(await find(signal)) }] }
}

export const ok = (en: string, zh: string): Answer => ({ state: 'ok', cause: { en, zh } })
export const warn = (en: string, zh: string, remedy?: string | Words): Answer => ({
  state: 'warn',
  cause: { en, zh },
  ...(remedy ? { remedy } : {}),
})
export const fail = (en: string, zh: string, remedy?: string | Words): Answer => ({
  state: 'fail',
  cause: { en, zh },
  ...(remedy ? { remedy } : {}),
})
