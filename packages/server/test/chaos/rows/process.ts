/** The process dies, is told to end, or stands still. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../../journeys/posthouse.ts'
import { points } from '../points.ts'
import { preloading } from '../preload/edit.ts'
import type { Play, Row } from '../row.ts'
import { createWorld, type World } from '../world.ts'
import { mailCrash, mailParts } from './mail.ts'

/** Messages a second, over this many conversations. */
const LOAD = { every: 50, chats: 40 }

/** People write while `running` holds. */
async function load(world: World, running: () => boolean): Promise<void> {
  while (running()) {
    world.ask({ chat: 1001 + Math.floor(world.random() * LOAD.chats) })
    await new Promise((resolve) => setTimeout(resolve, LOAD.every))
  }
}

const randomKills: Row = {
  id: 'F01',
  title: 'The gateway dies at random',
  injection:
    'three times kill -9 under 20 messages/s, each after 0.2 to 1.7 s; odd seeds poll, even ones have a webhook; the platform repeats',
  invariant: 'nothing lost, nothing doubled without its mark, every conversation in order',
  bound: 'serving again in 5 s; the backlog is answered in 30 s',
  seeds: 50,
  // A preview whose id was not written down yet cannot be found again.
  strays: 3,
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant, mode: seed % 2 === 0 ? 'webhook' : 'polling' })
    await world.start()
    let under = true
    const people = load(world, () => under)
    for (let kill = 0; kill < 3; kill++) {
      await new Promise((resolve) => setTimeout(resolve, 200 + world.random() * 1500))
      await world.posthouse.kill()
      await world.start()
      const recent = world.telegram.confirmations.slice(-3)
      for (const { update_id } of recent) world.telegram.redeliver(update_id)
    }
    under = false
    await people
    await world.settle(patience ?? 30_000)
    return await world.outcome()
  },
}

/** One of each kind of conversation: through all of them every point is passed. */
function tour({ ask, telegram }: World): void {
  // Somebody who wants to hear nothing, and a platform that stumbles once.
  telegram.know(1007)
  telegram.block(1007)
  telegram.failNext('sendMessage', { status: 500, description: 'Internal Server Error' })
  ask({ chat: 1001 })
  ask({ chat: 1002, wish: 'long', parts: 3 })
  ask({ chat: 1003, wish: 'slow' })
  ask({ chat: 1004, wish: 'book' })
  ask({ chat: 1005, wish: 'read', more: { document: { name: 'letter.txt', mime: 'text/plain', bytes: Buffer.from('a letter') } } })
  ask({ chat: 1007 })
}

/** Plays the tour with a crash at a point, or at none; answers the points that were passed. */
export async function crashAt({ seed, part, mutant, patience }: Play): Promise<{ world: World; reached: ReadonlySet<string> }> {
  await using made = new AsyncDisposableStack()
  const world = made.use(await createWorld({ seed, mutant, account: { room_send_rate: 2 } }))
  const file = join(world.posthouse.folder, 'reached')
  const env = preloading({ CHAOS_REACHED: file }, 'ledger-tool', 'crash')
  const point = points.find(({ name }) => name === part)
  const deadly = [...(point?.behind ? [point.behind] : []), ...(point ? [point.name] : [])]
  // What is pruned must be old.
  if (point?.seam === 'prune') {
    await world.start({ ...env, CHAOS_DAYS: '-20' })
    world.ask({ chat: 1001 })
    await world.settle()
    await world.posthouse.stop()
  }
  let toured = false
  for (const at of [...deadly, undefined]) {
    const started = world.start({ ...env, ...(at ? { CHAOS_CRASH_AT: at } : {}) })
    if (!toured) tour(world)
    toured = true
    const alive = await started.then(
      () => true,
      (error: Error) => {
        if (!/ended with null/.test(error.message)) throw error
        return false
      },
    )
    if (at && alive) await Promise.race([world.posthouse.exited(), new Promise((resolve) => setTimeout(resolve, 15_000).unref())])
  }
  await world.settle(patience ?? 20_000)
  // From here on it is the caller's.
  made.move()
  return { world, reached: new Set(existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : []) }
}

const namedPoints: Row = {
  id: 'F02',
  title: 'The gateway dies at a named point',
  injection: `kill -9 of itself at each of ${points.length} points: ${points.map(({ name }) => name).join(', ')}; and on both sides of the commit of a mail`,
  invariant:
    'exactly one outcome at every point; sent and not noted: at most one repeat, marked; a tool that cannot be taken back runs once',
  bound: 'the point is reached; serving again in 5 s; everything settled in 20 s',
  parts: [...points.map(({ name }) => name), ...Object.keys(mailParts)],
  partNeeds: Object.fromEntries(Object.keys(mailParts).map((part) => [part, ['mail']])),
  strays: 1,
  async run(play) {
    if (play.part in mailParts) return await mailCrash(play)
    const { world, reached } = await crashAt(play)
    await using _ = world
    const wanted = play.part
    const early = world.telegram.posted().length === 0
    return await world.outcome([!reached.has(wanted) && `the point "${wanted}" was never reached`, early && 'nothing was posted'])
  },
}

const poison: Row = {
  id: 'F03',
  title: 'A poisonous message',
  injection:
    'a message that kills the process in its turn, and one whose turn throws, among ordinary ones; a supervisor starts the gateway again',
  invariant: 'set aside after the third try, with a notice to the person and a dead letter; everybody else is answered',
  bound: 'four starts at the most; settled in 30 s',
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant })
    const env = preloading({}, 'poison')
    await world.start(env)
    for (let chat = 1; chat <= 6; chat++) world.ask({ chat: 1000 + chat })
    const deadly = world.ask({ chat: 1010, wish: 'a cup of arsenic' })
    const broken = world.ask({ chat: 1011, wish: 'a cup of hemlock' })
    const after = [world.ask({ chat: 1010 }), world.ask({ chat: 1011 })]
    await using _ = world.keepUp(env)
    await until(() => after.every(world.isAnswered), 'who wrote again is answered', patience ?? 30_000).catch(() => {})
    await world.settle(patience ?? 10_000)
    const told = (chat: number) => world.telegram.posted(chat).filter(({ text }) => text.includes('failed three times')).length
    const { dead } = await world.admin<{ dead: { reason: string; text: string }[] }>('/api/admin/dead')
    const aside = (text: string) => dead.some((letter) => letter.text === text && letter.reason === 'quarantined')
    return await world.outcome([
      told(1010) !== 1 && `the person of the deadly message was told ${told(1010)} times`,
      told(1011) !== 1 && `the person of the broken message was told ${told(1011)} times`,
      !(aside(deadly.text) && aside(broken.text)) && 'the operator does not see what was set aside',
    ])
  },
}

const drain: Row = {
  id: 'F04',
  title: 'SIGTERM with work in hand',
  injection:
    'kill -TERM with 20 answers being written, 12 of them endless, an open web chat, and an answer that waits for its next attempt',
  invariant: 'sockets are closed with 1012, nothing new is begun, exit code 0; the next start answers what was left',
  bound: 'ended in 20 s; in 3 s when only an attempt of later is waited for',
  parts: ['answers in hand', 'an attempt of later', 'claims on their way'],
  async run({ seed, mutant, part, patience }) {
    await using world = await createWorld({ seed, mutant })
    const { telegram, model, posthouse } = world
    const broken: (string | false)[] = []
    let endless = true
    await world.start(part === 'claims on their way' ? preloading({ CHAOS_LATE_CLAIM: '300' }, 'crash') : {})
    if (part === 'claims on their way') {
      for (let chat = 1; chat <= 20; chat++) world.ask({ chat: 1000 + chat })
      await until(() => telegram.pending === 0, 'all are admitted')
    } else if (part === 'an attempt of later') {
      telegram.failNext('sendMessage', { status: 429, description: 'Too Many Requests: retry after 60', retryAfter: 60 })
      world.ask({ chat: 1001 })
      await until(() => telegram.ledger.some(({ outcome }) => outcome.code === 429), 'the platform asks to wait')
    } else {
      const { status } = (await world.admin<{ status?: string }>('/readyz')) as { status?: string }
      broken.push(status !== 'ready' && 'not ready before')
      model.reply((question) =>
        endless && /endless/.test(question.text)
          ? { text: `m${/m(\d+)p1/.exec(question.text)?.[1]}p1 ${'on '.repeat(400)}`, firstToken: 50, interval: 500 }
          : `You said: ${question.text}`,
      )
      model.setPace({ firstToken: 2000 })
      for (let chat = 1; chat <= 20; chat++) world.ask({ chat: 1000 + chat, wish: chat > 8 ? 'endless' : '' })
      await until(() => model.active === 20, 'twenty answers are being written')
    }
    const page = part === 'answers in hand' ? await openPage(world) : undefined
    const began = performance.now()
    const calls = model.calls.length
    const code = await posthouse.stop()
    const took = performance.now() - began
    const bound = part === 'an attempt of later' ? 3000 : 20_000
    broken.push(took > bound && `ended after ${Math.round(took)} ms`, code !== 0 && `exit code ${code}`)
    broken.push(model.calls.length > calls && 'an answer was begun after the signal')
    if (page) {
      const closed = await page.closed
      broken.push(closed !== 1012 && `the socket was closed with ${closed}`)
    }
    model.setPace({})
    endless = false
    const again = performance.now()
    await world.start()
    if (part === 'an attempt of later') {
      // It is not sent before the platform wants it; that it is kept is what counts here.
      const { queue } = await world.admin<{ queue: { count: number } }>('/api/admin/status')
      broken.push(queue.count !== 1 && 'the answer that waits is not kept')
      return { ...(await world.outcome(broken)), lost: [], recoveries: [] }
    }
    await world.settle(patience ?? 20_000)
    broken.push(performance.now() - again > 25_000 && 'what was left took too long')
    const outcome = await world.outcome(broken)
    return { ...outcome, broken: [...outcome.broken, ...(outcome.dead > 0 ? [`${outcome.dead} became dead letters`] : [])] }
  },
}

/** An open web chat, and the code that it is closed with. */
async function openPage({ posthouse }: World): Promise<{ readonly closed: Promise<number> }> {
  const { token } = JSON.parse((await posthouse.cli('token', 'create', '--name', 'page', '--scopes', 'chat', '--json')).stdout) as {
    token: string
  }
  const { WebSocket } = await import('ws')
  const socket = new WebSocket(`${posthouse.url.replace('http', 'ws')}/ws`, { headers: { authorization: `Bearer ${token}` } })
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
  return { closed: new Promise((resolve) => socket.once('close', resolve)) }
}

const blocked: Row = {
  id: 'F07',
  title: 'The event loop stands still',
  injection: 'kill -STOP for 20 s in the midst of answers, then -CONT; meanwhile people go on writing',
  invariant: 'nothing is acknowledged while it stands; afterwards everything is answered once, in order',
  bound: 'answered within 15 s after it goes on. A watchdog that restarts a standing process is not there yet',
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant, mode: seed % 2 === 0 ? 'polling' : 'webhook' })
    const { posthouse, telegram } = world
    await world.start()
    for (let chat = 1; chat <= 10; chat++) world.ask({ chat: 1000 + chat })
    await until(() => world.model.calls.length >= 5, 'answers are being written')
    posthouse.signal('SIGSTOP')
    const before = telegram.confirmations.length
    for (let chat = 1; chat <= 10; chat++) world.ask({ chat: 1000 + chat })
    const healthy = await fetch(`${posthouse.url}/healthz`, { signal: AbortSignal.timeout(2000) }).then(
      () => true,
      () => false,
    )
    await new Promise((resolve) => setTimeout(resolve, 18_000))
    const acknowledged = telegram.confirmations.length - before
    posthouse.signal('SIGCONT')
    await world.settle(patience ?? 15_000)
    return await world.outcome([
      acknowledged > 0 && `${acknowledged} acknowledged while it stood`,
      healthy && 'healthz answered while it stood',
    ])
  },
}

export const processRows: readonly Row[] = [randomKills, namedPoints, poison, drain, blocked]
