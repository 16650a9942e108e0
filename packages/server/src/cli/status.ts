/** `posthouse status`: one screen. From the running gateway what it says of itself, from the database the rest. */
import { freeRatio } from '../ops/index.ts'
import type { KnownNode } from '../ports/node.ts'
import { type OutsideName, type OutsideProblem, outsideNames, outsideProblems } from '../ports/outside.ts'
import type { Call } from './call.ts'
import { askGateway, loadLocal, openLocal } from './local.ts'
import { ago } from './terminal.ts'

interface Ready {
  readonly status: string
  readonly problems: readonly string[]
  readonly degraded: readonly { readonly server: OutsideName; readonly problem: OutsideProblem }[]
}

const states = {
  working: { en: 'at work', zh: '工作中' },
  draining: { en: 'about to end', zh: '即将退出' },
  gone: { en: 'not seen for too long', zh: '长时间不可见' },
} as const
const stateOf = ({ alive, draining }: KnownNode) => (alive ? (draining ? 'draining' : 'working') : 'gone')

export async function status(call: Call): Promise<void> {
  const { terminal } = call
  const local = loadLocal(call)
  const ready = (await askGateway(local, '/readyz')) as Ready | undefined
  await using opened = await openLocal(local)
  const { store } = opened
  const now = Date.now()
  const backlog = await store.outbox.backlog()
  const nodes = await store.nodes.list()
  const nameOf = (id: string) => nodes.find((node) => node.id === id)?.name ?? id
  const data = {
    running: ready !== undefined,
    ready: ready?.status === 'ready',
    problems: ready?.problems ?? [],
    degraded: ready?.degraded ?? [],
    nodes,
    leases: (await store.leases.list()).map((lease) => ({ ...lease, name: lease.name.replace(/^account:/, ''), node: nameOf(lease.node) })),
    waiting: await store.inbox.depth(),
    working: await store.turns.running(),
    oldestWaiting: await store.inbox.oldestPending(),
    unsent: backlog.count,
    oldestUnsent: backlog.oldest,
    dead: await store.dead.count(),
    maybeDuplicates: await store.outbox.maybeDuplicates(),
    freeDisk: await freeRatio(local.config.dataFolder),
  }
  const { t } = terminal
  const leasesOf = ({ name }: KnownNode, before: string) => {
    const own = data.leases.filter((lease) => lease.node === name && lease.name !== 'upkeep').map((lease) => lease.name)
    return own.length > 0 ? before + own.join(', ') : ''
  }
  const lines = [
    data.running
      ? t({
          en: `Running${data.ready ? '' : `, not ready: ${data.problems.join('; ')}`}.`,
          zh: `运行中${data.ready ? '' : `，尚未就绪：${data.problems.join('；')}`}。`,
        })
      : t({ en: 'Not running. What follows is from the database.', zh: '未运行。以下数据来自数据库。' }),
    ...data.degraded.map(({ server, problem }) => `${t(outsideNames[server])}: ${t(outsideProblems[problem])}`),
    ...data.nodes.map((node) =>
      t({
        en: `Node ${node.name} ${node.version}: ${states[stateOf(node)].en}; started ${ago(node.startedAt, now)}, seen ${ago(node.seenAt, now)}${leasesOf(node, ', receives for ')}`,
        zh: `节点 ${node.name} ${node.version}：${states[stateOf(node)].zh}；启动于 ${ago(node.startedAt, now)}，最近可见 ${ago(node.seenAt, now)}${leasesOf(node, '，负责接收 ')}`,
      }),
    ),
    t({
      en: `Answers being written: ${data.working}`,
      zh: `正在生成的回答：${data.working}`,
    }),
    t({
      en: `Messages waiting for an answer: ${data.waiting} (oldest ${ago(data.oldestWaiting, now)})`,
      zh: `等待回答的消息：${data.waiting}（最早 ${ago(data.oldestWaiting, now)}）`,
    }),
    t({
      en: `Answers not yet sent: ${data.unsent} (oldest ${ago(data.oldestUnsent, now)})`,
      zh: `尚未发出的回答：${data.unsent}（最早 ${ago(data.oldestUnsent, now)}）`,
    }),
    t({ en: `Dead letters: ${data.dead}`, zh: `死信：${data.dead}` }),
    t({ en: `Answers that may have arrived twice: ${data.maybeDuplicates}`, zh: `可能重复送达的回答：${data.maybeDuplicates}` }),
    t({ en: `Free disk: ${Math.round(data.freeDisk * 100)} %`, zh: `剩余磁盘：${Math.round(data.freeDisk * 100)} %` }),
  ]
  terminal.result(
    data,
    lines.join('\n'),
    data.dead > 0 ? 'posthouse dead list' : data.running ? 'posthouse channel list' : 'posthouse start',
  )
}
