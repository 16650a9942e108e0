/** Too much at once, too little of the machine, another time of day. */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../../journeys/posthouse.ts'
import { marksIn } from '../auditor.ts'
import { memoryOf } from '../machine.ts'
import { faketimeLibrary } from '../needs.ts'
import type { Row } from '../row.ts'
import { createWorld, type World } from '../world.ts'
import { acknowledgedWithin } from './network.ts'

const MB = 1_000_000
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** A memory group of the kernel (version 1) with this limit; undefined where there is none. */
function memoryGroup(pid: number, bytes: number): { readonly remove: () => void } | undefined {
  const folder = `/sys/fs/cgroup/memory/posthouse-chaos-${pid}`
  try {
    mkdirSync(folder)
    writeFileSync(join(folder, 'memory.limit_in_bytes'), String(bytes))
    writeFileSync(join(folder, 'cgroup.procs'), String(pid))
    return { remove: () => void (existsSync(folder) && rmdirSync(folder)) }
  } catch {
    return undefined
  }
}

const littleMemory: Row = {
  id: 'F05',
  title: 'Ten uploads of 50 MB with 256 MB of memory',
  injection:
    'ten uploads at once over the API; the process in a memory group of 256 MB where the kernel has them, else its peak is measured',
  invariant: 'files are streamed; chats go on meanwhile',
  bound: 'peak of the process below 300 MB; every upload is taken; settled in 60 s',
  needs: ['linux'],
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant })
    const { posthouse } = world
    await world.start()
    const token = await world.token()
    const group = memoryGroup(posthouse.pid, 256 * 1024 * 1024)
    try {
      const file = new Blob([Buffer.alloc(49 * MB, 'a letter, ')])
      const uploads = Array.from({ length: 10 }, async () => {
        const form = new FormData()
        form.append('file', file, 'letter.txt')
        const headers = { authorization: `Bearer ${token}` }
        return (await fetch(`${posthouse.url}/api/v1/files`, { method: 'POST', headers, body: form, signal: AbortSignal.timeout(120_000) }))
          .status
      })
      for (let n = 0; n < 20; n++) {
        world.ask({ chat: 1001 + n })
        await pause(50)
      }
      const statuses = await Promise.all(uploads.map((upload) => upload.catch((error: Error) => error.message)))
      await world.settle(patience ?? 60_000)
      const { peak } = memoryOf(posthouse.pid)
      const refused = statuses.filter((status) => status !== 200)
      return await world.outcome(
        [peak > 300 && `${Math.round(peak)} MB at the peak`, refused.length > 0 && `uploads ended with ${refused.join(', ')}`],
        `peak ${Math.round(peak)} MB, ${group ? 'in a memory group of 256 MB' : 'without a memory group'}`,
      )
    } finally {
      await posthouse.kill()
      group?.remove()
    }
  },
}

const noProcessor: Row = {
  id: 'F08',
  title: 'The processor is taken',
  injection: 'eight endless loops beside the gateway, 20 messages a second for 15 s by webhook',
  invariant: 'platforms are acknowledged in time, nothing is lost',
  bound: '99 of 100 acknowledgements in 2.5 s; settled in 60 s',
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant, mode: 'webhook' })
    await world.start()
    await until(() => world.telegram.webhook !== undefined, 'the webhook is set')
    const loops: ChildProcess[] = Array.from({ length: 8 }, () => spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }))
    const since = Date.now()
    try {
      for (let n = 0; n < 300; n++) {
        world.ask({ chat: 1001 + n })
        await pause(50)
      }
      await until(() => world.telegram.pending === 0, 'all are acknowledged', 60_000)
    } finally {
      for (const loop of loops) loop.kill('SIGKILL')
    }
    await world.settle(patience ?? 60_000)
    const p99 = acknowledgedWithin(world, 0.99, since)
    return await world.outcome([p99 > 2500 && `one of a hundred acknowledgements took ${p99} ms`], `acknowledged in ${p99} ms (p99)`)
  },
}

const otherTimes: Row = {
  id: 'F31',
  title: 'The clock jumps',
  injection: 'the clock of the process goes back two hours, then three days ahead, then right again, while people write',
  invariant:
    'back: everything is answered. Ahead: what seems three days old is a dead letter that an operator lets go. Nothing is lost or doubled',
  bound: 'settled in 20 s each. Reminders, which a change of summer time could repeat or leave out, are not there yet',
  needs: ['linux', 'faketime'],
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant })
    // Earlier questions stand in the history; only the last one is answered.
    world.model.reply(({ text }) => `You said: m${marksIn(text).at(-1)?.number}p1`)
    const clock = join(world.posthouse.folder, 'clock')
    const jump = (to: string) => writeFileSync(clock, `${to}\n`)
    jump('+0')
    const env = {
      LD_PRELOAD: faketimeLibrary,
      FAKETIME_TIMESTAMP_FILE: clock,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    }
    await world.start(env)
    const round = async (chats: number) => {
      const asked = Array.from({ length: chats }, (_, n) => world.ask({ chat: 1001 + n }))
      await world.settle(patience ?? 20_000)
      return asked
    }
    await round(5)
    jump('-2h')
    const back = await round(5)
    jump('+3d')
    const ahead = await round(5)
    const { dead } = await world.admin<{ dead: { id: string; reason: string; text: string }[] }>('/api/admin/dead')
    jump('+0')
    const again = await round(5)
    for (const { id } of dead) await world.posthouse.cli('dead', 'retry', id)
    await until(() => ahead.every(world.isAnswered), 'what was let go is answered', 15_000).catch(() => {})
    const outcome = await world.outcome([
      !back.every(world.isAnswered) && 'not all are answered while the clock is behind',
      !again.every(world.isAnswered) && 'not all are answered when the clock is right again',
      !ahead.every(world.isAnswered) && 'not all that was let go is answered',
      dead.some(({ reason }) => reason !== 'stale') && 'a dead letter that is not stale',
      dead.length !== ahead.length && `${dead.length} of ${ahead.length} are dead letters while the clock is ahead: did it jump?`,
    ])
    return { ...outcome, outOfOrder: outcome.outOfOrder.filter((text) => !again.some((asked) => asked.text === text)) }
  },
}

const rush: Row = {
  id: 'F42',
  title: '500 people write in the same second',
  injection: '500 first messages within a second by webhook; the model takes a second for each',
  invariant: 'all are acknowledged and answered',
  bound: 'each acknowledged in 3 s; settled in 60 s; below 500 MB',
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant, mode: 'webhook' })
    await world.start()
    await until(() => world.telegram.webhook !== undefined, 'the webhook is set')
    world.model.setPace({ firstToken: 400, interval: 100, chunks: 6 })
    const since = Date.now()
    for (let tenth = 0; tenth < 10; tenth++) {
      for (let n = 0; n < 50; n++) world.ask({ chat: 1001 + tenth * 50 + n })
      await pause(100)
    }
    await until(() => world.telegram.pending === 0, 'all are acknowledged', 30_000).catch(() => {})
    await world.settle(patience ?? 60_000)
    const worst = acknowledgedWithin(world, 1, since)
    const { peak } = memoryOf(world.posthouse.pid)
    return await world.outcome(
      [worst > 3000 && `an acknowledgement took ${worst} ms`, peak > 500 && `${Math.round(peak)} MB at the peak`],
      `acknowledged in ${worst} ms at the worst, peak ${Math.round(peak)} MB`,
    )
  },
}

/** Milliseconds from question to answer of 30 people, 95 of 100. */
async function ninetyFive(world: World, chats: number): Promise<number> {
  const took: number[] = []
  for (let round = 0; round < 4; round++) {
    const asked = Array.from({ length: 10 }, (_, n) => ({ at: performance.now(), question: world.ask({ chat: chats + round * 10 + n }) }))
    while (took.length < (round + 1) * 10) {
      for (const one of asked.filter(({ question }) => world.isAnswered(question))) {
        took.push(performance.now() - one.at)
        asked.splice(asked.indexOf(one), 1)
      }
      await pause(5)
      if (performance.now() - (asked[0]?.at ?? performance.now()) > 20_000) return Number.POSITIVE_INFINITY
    }
  }
  return took.toSorted((a, b) => a - b)[Math.floor(took.length * 0.95)] ?? 0
}

const hotChat: Row = {
  id: 'F43',
  title: 'One conversation with a thousand messages',
  injection: 'a thousand messages in one chat within 10 s, while others write as before',
  invariant: 'beyond the limit of the conversation they are refused with one notice; what was taken is answered in order',
  bound: '95 of 100 of the others wait at most 1.5 times as long as before (and 100 ms)',
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant, mode: 'webhook' })
    await world.start()
    await until(() => world.telegram.webhook !== undefined, 'the webhook is set')
    await ninetyFive(world, 2001)
    const before = await ninetyFive(world, 3001)
    let flooding = true
    const flood = (async () => {
      for (let n = 0; n < 1000 && flooding; n++) {
        world.ask({ chat: 1001 })
        if (n % 10 === 9) await pause(100)
      }
    })()
    await pause(1000)
    const during = await ninetyFive(world, 4001)
    await flood
    flooding = false
    await world.settle(patience ?? 60_000)
    const notices = world.telegram.posted(1001).filter(({ text }) => text.includes('too much at once')).length
    const problems = [
      during > before * 1.5 + 100 && `others waited ${Math.round(during)} ms, ${Math.round(before)} before`,
      notices !== 1 && `${notices} notices`,
    ]
    return await world.outcome(problems, `others: ${Math.round(before)} ms before, ${Math.round(during)} ms during (p95)`)
  },
}

export const loadRows: readonly Row[] = [littleMemory, noProcessor, otherTimes, rush, hotChat]
