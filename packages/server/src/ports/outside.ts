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

interface Cause extends Bilingual {
  readonly when: RegExp
}

const UNREACHABLE: Cause = {
  when: /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ECONNRESET|EPIPE|time-?d? ?out|no connection/i,
  en: 'it cannot be reached. Check the address, and whether it runs.',
  zh: '无法连接。请检查地址，以及它是否在运行。',
}

/** Why one does not serve us, by what its client says, with the remedy. The first that fits counts; no words of the server are passed on. */
const causes: Readonly<Record<OutsideName, readonly Cause[]>> = {
  broker: [
    {
      when: /Login was refused|ACCESS_REFUSED - Login|Handshake terminated/,
      en: 'it does not let us in. Check user and password in broker.url.',
      zh: '服务器拒绝登录。请检查 broker.url 中的用户名和密码。',
    },
    {
      when: /ConnectionOpen|NOT_ALLOWED|no access to this vhost|vhost .* not found/,
      en: 'there is no such virtual host, or this user may not use it. rabbitmqctl add_vhost NAME; rabbitmqctl set_permissions -p NAME USER ".*" ".*" ".*"',
      zh: '没有此虚拟主机，或该用户无权使用。请执行：rabbitmqctl add_vhost 名称；rabbitmqctl set_permissions -p 名称 用户 ".*" ".*" ".*"',
    },
    {
      when: /ACCESS_REFUSED/,
      en: 'this user may not make, fill and read queues. rabbitmqctl set_permissions -p VHOST USER ".*" ".*" ".*"',
      zh: '该用户无权创建、写入和读取队列。请执行：rabbitmqctl set_permissions -p 虚拟主机 用户 ".*" ".*" ".*"',
    },
    {
      when: /PRECONDITION|x-queue-type|quorum/i,
      en: 'it has queues of these names of another kind, or no quorum queues at all. Set another broker.prefix, or use RabbitMQ 3.10 or later.',
      zh: '已有同名但类型不同的队列，或不支持仲裁队列。请更换 broker.prefix，或使用 RabbitMQ 3.10 及以上版本。',
    },
    UNREACHABLE,
  ],
  redis: [
    {
      when: /WRONGPASS|NOAUTH|invalid password|without any password/,
      en: 'it does not let us in. Check user and password in redis.url.',
      zh: '服务器拒绝登录。请检查 redis.url 中的用户名和密码。',
    },
    {
      when: /NOPERM/,
      en: 'this user may not do what is needed. ACL SETUSER NAME ~PREFIX:* &PREFIX:* +@all',
      zh: '该用户权限不足。请执行：ACL SETUSER 用户 ~前缀:* &前缀:* +@all',
    },
    {
      when: /OOM command/,
      en: 'it is out of memory. Raise maxmemory, or set maxmemory-policy allkeys-lru.',
      zh: '内存不足。请调高 maxmemory，或设置 maxmemory-policy allkeys-lru。',
    },
    UNREACHABLE,
  ],
  discovery: [
    {
      when: /answered 40[013]/,
      en: 'it does not let us in. Check user and password in discovery.endpoint, and what the role of this user may write.',
      zh: '服务器拒绝访问。请检查 discovery.endpoint 中的用户名和密码，以及该用户角色的写权限。',
    },
    {
      when: /answered 404/,
      en: 'this is no etcd of version 3.4 or later. Check the address.',
      zh: '这不是 3.4 及以上版本的 etcd。请检查地址。',
    },
    UNREACHABLE,
  ],
}

/** The cause and the remedy in one line; undefined when it is none that we know. */
export function causeOf(server: OutsideName, error: unknown): Bilingual | undefined {
  const { message = '', code = '' } = (error ?? {}) as { message?: string; code?: string | number }
  return causes[server].find(({ when }) => when.test(`${code} ${message}`))
}
