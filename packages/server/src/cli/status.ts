/** `posthouse status`: one screen. From the running gateway what it says of itself, from the database the rest. */
import { freeRatio } from '../ops/index.ts'
import { type OutsideName, type OutsideProblem, outsideNames, outsideProblems } from '../ports/outside.ts'
import { pausesOf } from '../ports/pauses.ts'
import type { Call } from './call.ts'
import { askGateway, loadLocal, openLocal } from './local.ts'
import { ago } from './terminal.ts'

interface Ready {
  readonly status: string
  readonly problems: readonly string[]
  readonly degraded: readonly { readonly server: OutsideName; readonly problem: OutsideProblem }[]
}

export async function status(call: Call): Promise<void> {
  const { terminal } = call
  const local = loadLocal(call)
  const ready = (await askGateway(local, '/readyz')) as Ready | undefined
  await using opened = await openLocal(local)
  const { store } = opened
  const now = Date.now()
  const backlog = await store.outbox.backlog()
  const { since } = await pausesOf(store.settings)
  const data = {
    running: ready !== undefined,
    ready: ready?.status === 'ready',
    problems: ready?.problems ?? [],
    degraded: ready?.degraded ?? [],
    waiting: await store.inbox.depth(),
    oldestWaiting: await store.inbox.oldestPending(),
    unsent: backlog.count,
    oldestUnsent: backlog.oldest,
    dead: await store.dead.count(),
    maybeDuplicates: await store.outbox.maybeDuplicates(),
    paused: local.config.accounts.flatMap(({ id }) => (since(id) === undefined ? [] : [id])),
    freeDisk: await freeRatio(local.config.dataFolder),
  }
  const { t } = terminal
  const lines = [
    data.running
      ? t({
          en: `Running${data.ready ? '' : `, not ready: ${data.problems.join('; ')}`}.`,
          zh: `运行中${data.ready ? '' : `，尚未就绪：${data.problems.join('；')}`}。`,
        })
      : t({ en: 'Not running. What follows is from the database.', zh: '未运行。以下数据来自数据库。' }),
    ...data.degraded.map(({ server, problem }) => `${t(outsideNames[server])}: ${t(outsideProblems[problem])}`),
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
    t({ en: `Free disk: ${Math.round(data.freeDisk * 100)} %`, zh: `剩余磁盘：${Math.round(data.freeDisk * 100)} %` }),
  ]
  terminal.result(
    data,
    lines.join('\n'),
    data.dead > 0 ? 'posthouse dead list' : data.running ? 'posthouse channel list' : 'posthouse start',
  )
}
