/** The disk is full, broken, read-only, loses what was not synced, or tells lies. */
import { spawn, spawnSync } from 'node:child_process'
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { until } from '../../journeys/posthouse.ts'
import type { Row } from '../row.ts'
import { lostWrites } from '../syncs.ts'
import { createWorld, type World } from '../world.ts'

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const readiness = async ({ posthouse }: World) => (await fetch(`${posthouse.url}/readyz`, { signal: AbortSignal.timeout(5000) })).status
const dataOf = ({ posthouse }: World) => join(posthouse.folder, 'data')

/** What SQLite says of the database as it lies there. */
function integrity(world: World): string {
  const database = new DatabaseSync(join(dataOf(world), 'posthouse.db'))
  try {
    return Object.values(database.prepare('PRAGMA integrity_check').get() ?? {})[0] as string
  } finally {
    database.close()
  }
}

/** While no write succeeds: nothing is acknowledged, nobody is told "ready", pages still open. */
async function whileItFails(
  world: World,
  how: string,
  fail: () => Promise<void> | void,
  heal: () => Promise<void> | void,
  patience: number,
) {
  const { telegram, posthouse } = world
  for (let n = 0; n < 10; n++) world.ask({ chat: 1001 + n })
  await world.settle(patience)
  await fail()
  await until(async () => (await readiness(world)) === 503, 'it is not ready', 10_000)
  const before = telegram.confirmations.length
  for (let n = 0; n < 10; n++) world.ask({ chat: 1001 + n })
  await pause(3000)
  const acknowledged = telegram.confirmations.length - before
  const page = (await fetch(`${posthouse.url}/healthz`)).status
  await heal()
  await until(async () => (await readiness(world)) === 200, 'it is ready again', 20_000).catch(() => {})
  const ready = await readiness(world)
  await world.settle(patience)
  return [
    acknowledged > 0 && `${acknowledged} acknowledged while ${how}`,
    page !== 200 && `healthz answered ${page}`,
    ready !== 200 && `not ready again after it was well: ${ready}`,
  ]
}

const fullDisk: Row = {
  id: 'F09',
  title: 'The disk is full',
  injection: 'the data lie on a tmpfs of 64 MB, which another file fills to the last byte; then that file goes away',
  invariant: 'nothing is acknowledged that is not kept; not ready, yet alive; goes on by itself; the database is whole',
  bound: 'ready again in 20 s, settled in 30 s',
  needs: ['root', 'mounts'],
  async run({ seed, mutant, patience = 30_000 }) {
    await using world = await createWorld({ seed, mutant, mode: seed % 2 === 0 ? 'polling' : 'webhook' })
    const data = dataOf(world)
    mkdirSync(data, { recursive: true, mode: 0o700 })
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64m,mode=700', 'tmpfs', data]).status !== 0)
      throw new Error('tmpfs could not be mounted')
    const ballast = join(data, 'ballast')
    try {
      await world.start()
      const broken = await whileItFails(
        world,
        'the disk was full',
        () => void spawnSync('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=4096']),
        () => rmSync(ballast),
        patience,
      )
      const outcome = await world.outcome(broken)
      await world.posthouse.stop()
      const state = integrity(world)
      return { ...outcome, broken: [...outcome.broken, ...(state === 'ok' ? [] : [`the database is damaged: ${state}`])] }
    } finally {
      await world.posthouse.kill()
      spawnSync('umount', ['-l', data])
    }
  },
}

/** Which calls fail, and how. */
const refusals = {
  'EIO at a sync': 'fdatasync,fsync:error=EIO',
  'ENOSPC at a write': 'pwrite64:error=ENOSPC',
  'EIO at a write': 'pwrite64:error=EIO',
} as const

const failingCalls: Row = {
  id: 'F10',
  title: 'The n-th write or sync fails',
  injection:
    'strace lets the n-th call of the process fail (n from the seed), five times in a row; a supervisor starts it again if it ends',
  invariant: 'what failed is not acknowledged; what was acknowledged is there; the database is whole',
  bound: 'settled in 40 s',
  parts: Object.keys(refusals),
  seeds: 4,
  needs: ['linux', 'strace'],
  async run({ seed, part, mutant, patience }) {
    await using world = await createWorld({ seed, mutant, mode: seed % 2 === 0 ? 'polling' : 'webhook' })
    // The tables are made without faults, so that each seed meets the message's way.
    await world.start()
    await world.posthouse.stop()
    const nth = 20 + Math.floor(world.random() * 120)
    const inject = `${refusals[part as keyof typeof refusals]}:when=${nth}..${nth + 4}`
    const log = join(world.posthouse.folder, 'strace')
    await world.start({}, [
      'strace',
      '-f',
      '--seccomp-bpf',
      '-qq',
      '-o',
      log,
      '-e',
      `trace=${inject.split(':')[0]}`,
      '-e',
      `inject=${inject}`,
    ])
    await using _ = world.keepUp()
    for (let n = 0; n < 60; n++) {
      world.ask({ chat: 1001 + (n % 15) })
      await pause(40)
    }
    await world.settle(patience ?? 40_000)
    const hit = readFileSync(log, 'utf8').includes('(INJECTED)')
    const outcome = await world.outcome([!hit && `no call was the ${nth}th`])
    await world.posthouse.stop()
    const state = integrity(world)
    return { ...outcome, broken: [...outcome.broken, ...(state === 'ok' ? [] : [`the database is damaged: ${state}`])] }
  },
}

const readOnly: Row = {
  id: 'F11',
  title: 'The file system becomes read-only',
  injection: 'strace joins the running process and lets every write and sync of files fail with EROFS, then leaves it',
  invariant: 'as with a full disk; heals without a restart',
  bound: 'ready again in 20 s, settled in 30 s',
  needs: ['linux', 'strace'],
  async run({ seed, mutant, patience = 30_000 }) {
    await using world = await createWorld({ seed, mutant, mode: seed % 2 === 0 ? 'polling' : 'webhook' })
    await world.start()
    let tracer: ReturnType<typeof spawn> | undefined
    const broken = await whileItFails(
      world,
      'nothing could be written',
      () => {
        const args = [
          '-f',
          '-qq',
          '-o',
          '/dev/null',
          '-e',
          'inject=pwrite64,fdatasync,fsync,ftruncate:error=EROFS',
          '-p',
          String(world.posthouse.pid),
        ]
        tracer = spawn('strace', args, { stdio: 'ignore' })
      },
      async () => {
        tracer?.kill('SIGINT')
        await new Promise((resolve) => tracer?.once('exit', resolve))
      },
      patience,
    )
    return await world.outcome(broken)
  },
}

const powerCut: Row = {
  id: 'F12',
  title: 'The power is cut',
  injection:
    'kill -9 under load; then all that was written to the database since its last sync is overwritten with zeros, as strace saw it',
  invariant: 'every acknowledged message is there',
  bound: 'settled in 30 s',
  seeds: 5,
  needs: ['linux', 'strace'],
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant, mode: 'webhook' })
    const log = join(world.posthouse.folder, 'strace')
    const calls = 'trace=pwrite64,fdatasync,fsync,ftruncate'
    let zeroed = 0
    for (let cut = 0; cut < 2; cut++) {
      await world.start({}, ['strace', '-f', '--seccomp-bpf', '-y', '-qq', '-s', '0', '-e', calls, '-o', log])
      const end = performance.now() + 800 + world.random() * 1500
      while (performance.now() < end) {
        world.ask({ chat: 1001 + Math.floor(world.random() * 30) })
        await pause(30)
      }
      await world.posthouse.kill()
      for (const { path, at, length } of lostWrites(readFileSync(log, 'utf8'))) {
        if (!/posthouse\.db(-wal)?$/.test(path) || !existsSync(path)) continue
        const file = openSync(path, 'r+')
        writeSync(file, Buffer.alloc(length), 0, length, at)
        closeSync(file)
        zeroed += length
      }
      // The index of the log is in memory only, as far as a power cut is concerned.
      rmSync(join(dataOf(world), 'posthouse.db-shm'), { force: true })
    }
    await world.start()
    await world.settle(patience ?? 30_000)
    return await world.outcome([], `${Math.round(zeroed / 1024)} KB were lost with the power`)
  },
}

const rot: Row = {
  id: 'F13',
  title: 'A flipped bit, a cut file',
  injection:
    'the gateway is killed or stopped; a page of the database or of its log gets a flipped byte, or the file is cut in half; then it starts again',
  invariant: 'it refuses to start and says what is damaged and what to do, or it serves and everything that was answered reads as it was',
  bound: 'refused or serving in 10 s; no text is ever shown changed',
  parts: ['a flipped byte in the database', 'a cut database', 'a flipped byte in the log', 'a cut log'],
  seeds: 4,
  async run({ seed, part, mutant }) {
    await using world = await createWorld({ seed, mutant })
    const { posthouse } = world
    await world.start()
    const token = await world.token()
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const said: { id: string; conversation: string; text: string }[] = []
    for (let n = 0; n < 12; n++) {
      const query = `question ${n} of ${seed}`
      const response = await fetch(`${posthouse.url}/api/v1/chat`, { method: 'POST', headers, body: JSON.stringify({ query }) })
      const { conversation_id: conversation, message_id: id, answer } = (await response.json()) as Record<string, string>
      said.push({ id: id ?? '', conversation: conversation ?? '', text: answer ?? '' })
    }
    const log = part.endsWith('log')
    if (log) await posthouse.kill()
    else await posthouse.stop()
    damage(join(dataOf(world), `posthouse.db${log ? '-wal' : ''}`), part, world.random)
    const refused = await world.start().then(
      () => undefined,
      (error: Error) => error.message,
    )
    if (refused !== undefined) {
      const names = /damaged|malformed|not a database|backup/i.test(refused)
      return quiet([!names && `refused without saying what is damaged: ${refused.slice(0, 200)}`], 'refused')
    }
    let gone = 0
    const changed: string[] = []
    for (const { conversation, text } of said) {
      const response = await fetch(`${posthouse.url}/api/v1/history?conversation_id=${conversation}`, { headers })
      const body = await response.text()
      // What cannot be read is told; what is not there any more is not.
      if (!response.ok && response.status !== 404) gone++
      else if (!body.includes(JSON.stringify(text).slice(1, -1))) changed.push(text)
    }
    const silent = changed.length > 0 ? `${changed.length} of ${said.length} answers are silently gone or changed` : undefined
    return quiet([silent], `serving, ${gone} conversations refused`)
  },
}

function damage(path: string, part: string, random: () => number): void {
  const { size } = statSync(path)
  copyFileSync(path, `${path}.before`)
  if (part.startsWith('a cut')) {
    truncateSync(path, Math.floor((size * (0.3 + random() * 0.4)) / 512) * 512)
    return
  }
  const bytes = readFileSync(path)
  const at = Math.floor(size * (0.2 + random() * 0.7))
  bytes[at] = (bytes[at] ?? 0) ^ (1 << Math.floor(random() * 8))
  writeFileSync(path, bytes)
}

/** An outcome without people of the platform. */
function quiet(broken: readonly (string | false | undefined)[], figures: string) {
  const none = { asked: 0, admitted: 0, answered: 0, told: 0, dead: 0, marked: 0 }
  const empty = { lost: [], doubled: [], outOfOrder: [], rerun: [], strays: [], recoveries: [], slow: [] }
  return { ...none, ...empty, broken: broken.filter((problem) => typeof problem === 'string'), figures }
}

export const diskRows: readonly Row[] = [fullDisk, failingCalls, readOnly, powerCut, rot]
