/** `posthouse status`: one screen. From the running gateway what it says of itself, from the database the rest. */
import { type AccountOfNode, accountsOf } from '../channels/index.ts'
import { freeRatio } from '../ops/index.ts'
import { type McpProblem, mcpProblems } from '../ports/mcp.ts'
import type { KnownNode } from '../ports/node.ts'
import { type OutsideName, type OutsideProblem, outsideNames, outsideProblems } from '../ports/outside.ts'
import { pausesOf } from '../ports/pauses.ts'
import { accountLines, isDeaf } from './account-lines.ts'
import type { Call } from './call.ts'
import { closedIn, closedWords } from './config.ts'
import { askGateway, loadLocal, openLocal } from './local.ts'
import { knownServers, waitingIn } from './mcp.ts'
import { ago, type Terminal } from './terminal.ts'

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
  const isConfigured = (account: string) => local.config.accounts.some(({ id }) => id === account)
  const { since } = await pausesOf(store.settings)
  const data = {
    running: ready !== undefined,
    ready: ready?.status === 'ready',
    problems: ready?.problems ?? [],
    degraded: ready?.degraded ?? [],
    nodes,
    leases: (await store.leases.list()).map((lease) => ({ ...lease, name: lease.name.replace(/^account:/, ''), node: nameOf(lease.node) })),
    waiting: await store.inbox.depth(),
    working: await store.turns.running(),
    oldestWaiting: [...(await store.inbox.oldestPending()).values()].toSorted((a, b) => a - b)[0],
    unsent: backlog.count,
    oldestUnsent: backlog.oldest,
    dead: await store.dead.count(),
    maybeDuplicates: await store.outbox.maybeDuplicates(),
    paused: local.config.accounts.flatMap(({ id }) => (since(id) === undefined ? [] : [id])),
    // The only node that there may be is known to be gone before its time is over.
    channels: ready || store.nodes.shared ? (await accountsOf(store.accountState, nodes)).filter(({ id }) => isConfigured(id)) : [],
    closed: closedIn(local.loaded).map(({ account, text }) => ({ id: account, problem: local.terminal.t(text) })),
    mcp: (await knownServers(local.config, store)).map((server) => ({
      id: server.id,
      state: server.state,
      problem: server.problem,
      waiting: waitingIn(server).map(({ name }) => name),
    })),
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
    ...(data.paused.length > 0
      ? [
          t({
            en: `Paused, receiving and sending nothing: ${data.paused.join(', ')} (posthouse channel resume)`,
            zh: `已暂停收发：${data.paused.join('、')}（posthouse channel resume）`,
          }),
        ]
      : []),
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
    ...accountLines(data.channels, terminal, now),
    ...data.closed.map(({ id, problem }) => `${problem}${t(closedWords(id))}`),
    ...data.mcp.map((server) => lineOf(server, terminal)),
    t({ en: `Free disk: ${Math.round(data.freeDisk * 100)} %`, zh: `剩余磁盘：${Math.round(data.freeDisk * 100)} %` }),
  ]
  terminal.result(data, lines.join('\n'), nextStep(data))
}

function nextStep(found: {
  readonly dead: number
  readonly channels: readonly AccountOfNode[]
  readonly closed: readonly unknown[]
  readonly mcp: readonly { readonly waiting: readonly string[] }[]
  readonly running: boolean
}): string {
  if (found.dead > 0) return 'posthouse dead list'
  if (found.channels.some(isDeaf)) return 'posthouse doctor'
  if (found.closed.length > 0) return 'posthouse config check'
  if (found.mcp.some(({ waiting }) => waiting.length > 0)) return 'posthouse mcp list'
  return found.running ? 'posthouse channel list' : 'posthouse start'
}

/** A server of tools. */
function lineOf(
  { id, state, problem, waiting }: { id: string; state: string; problem: McpProblem | undefined; waiting: readonly string[] },
  { t }: Terminal,
) {
  const does = problem
    ? t(mcpProblems[problem])
    : state === 'ready'
      ? t({ en: 'connected', zh: '已连接' })
      : t({ en: 'not connected yet', zh: '尚未连接' })
  const list = waiting.length > 0 ? t({ en: `; to be approved: ${waiting.join(', ')}`, zh: `；待批准：${waiting.join('、')}` }) : ''
  return t({ en: `Tools of ${id}: ${does}${list}`, zh: `${id} 的工具：${does}${list}` })
}
