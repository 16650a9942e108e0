/** Backups and restores: under load, killed, on a full disk. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../../journeys/posthouse.ts'
import { backupPoints, restorePoints } from '../backup-points.ts'
import type { Outcome } from '../crowd.ts'
import { withMutant } from '../mutants.ts'
import { preloading } from '../preload/edit.ts'
import type { Play, Row } from '../row.ts'
import { createWorld, type World } from '../world.ts'

const letter = { name: 'letter.txt', mime: 'text/plain', bytes: Buffer.from('a letter '.repeat(20_000)) }

/** People write, 20 messages a second, some with a file, until told to stop. */
function load(world: World): { stop(): Promise<void> } {
  let under = true
  const people = (async () => {
    for (let n = 0; under; n++) {
      world.ask({ chat: 1001 + Math.floor(world.random() * 40), ...(n % 10 === 0 ? { wish: 'read', more: { document: letter } } : {}) })
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  })()
  return {
    async stop() {
      under = false
      await people
    },
  }
}

const answered = (world: World, least: number) =>
  until(() => world.asked.filter(world.isAnswered).length >= least, `${least} are answered`, 20_000)

async function done(world: World, ...args: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await world.posthouse.cliWith(withMutant(world.mutant, {}), ...args, '--json')
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}: ${stdout}${stderr}`)
  return JSON.parse(stdout) as Record<string, unknown>
}

interface Channels {
  readonly channels: readonly { readonly id: string; readonly state: string }[]
}
const stateOf = async (world: World) =>
  (await world.admin<Channels>('/api/admin/status')).channels.find(({ id }) => id === 'telegram')?.state

/** Whatever was restored: silent until it is let go, then it answers, and says nothing twice. */
async function judge(world: World, patience: number, figures: string): Promise<Outcome> {
  const { telegram } = world
  const before = { posted: telegram.posted().length, taken: telegram.confirmations.length }
  await world.start()
  const state = await stateOf(world)
  for (let n = 0; n < 5; n++) world.ask({ chat: 1001 + n })
  const headers = { authorization: `Bearer ${await world.token()}`, 'content-type': 'application/json' }
  const chat = await fetch(`${world.posthouse.url}/api/v1/chat`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ query: 'are you there?' }),
  })
  // Longer than any sweep, poll or retry needs.
  await new Promise((resolve) => setTimeout(resolve, 3000))
  const after = { posted: telegram.posted().length, taken: telegram.confirmations.length }
  await done(world, 'channel', 'resume', '--all')
  await until(async () => (await stateOf(world)) === 'connected', 'it is connected again', 10_000)
  await world.settle(patience)
  return await world.outcome(
    [
      state !== 'paused' && `the account was ${state} after the restore`,
      after.posted !== before.posted && `${after.posted - before.posted} were sent before anybody let it`,
      after.taken !== before.taken && `${after.taken - before.taken} were taken before anybody let it`,
      chat.status !== 200 && `the chat of the gateway itself answered ${chat.status}`,
    ],
    figures,
  )
}

const TABLES = ['messages', 'conversations', 'inbox', 'outbox', 'files']

async function underLoad({ seed, mutant, patience = 30_000 }: Play): Promise<Outcome> {
  await using world = await createWorld({ seed, mutant, mode: seed % 2 === 0 ? 'webhook' : 'polling' })
  await world.start()
  // What is made later is not in the backup.
  await world.token()
  const people = load(world)
  await answered(world, 20)
  // Much is under way whenever the copy is made.
  world.model.setPace({ firstToken: 1500, chunks: 6 })
  await until(() => world.model.active >= 5, 'answers are under way')
  const began = performance.now()
  const { manifest } = (await done(world, 'backup', 'create', '--to', 'kept.backup')) as { manifest: Told }
  const took = Math.round(performance.now() - began)
  world.model.setPace({ firstToken: 30, interval: 10, chunks: 6 })
  await answered(world, world.asked.length)
  await people.stop()
  await world.settle(patience)
  await world.posthouse.kill()
  const elsewhere = 'sqlite:elsewhere/posthouse.db'
  const restored = (await done(world, 'backup', 'restore', '--from', 'kept.backup', '--to', elsewhere)) as {
    manifest: Told
    setAside: number
  }
  const rows = (told: Told) => TABLES.map((name) => told.tables.find((table) => table.name === name)?.rows).join(' ')
  world.reconfigure({ database: { url: elsewhere } })
  const outcome = await judge(world, patience, `${rows(manifest)} rows in ${took} ms, ${restored.setAside} set aside`)
  const wrong = rows(manifest) !== rows(restored.manifest) ? ['the counts differ'] : []
  return { ...outcome, broken: [...outcome.broken, ...wrong] }
}

interface Told {
  readonly tables: readonly { readonly name: string; readonly rows: number }[]
}

/** Dies before each line in turn. Answers the names of those that it did not come to. */
async function killed(world: World, name: string, ...args: string[]): Promise<string | undefined> {
  const { signal, stdout, stderr } = await world.posthouse.cliWith(
    preloading(withMutant(world.mutant, { CHAOS_DIE: name }), 'die-at'),
    ...args,
  )
  return signal === 'SIGKILL' ? undefined : `it did not come to "${name}": ${stdout}${stderr}`
}

async function killedBackup({ seed, mutant, patience = 30_000 }: Play): Promise<Outcome> {
  await using world = await createWorld({ seed, mutant })
  await world.start()
  const people = load(world)
  await answered(world, 10)
  const folder = join(world.posthouse.folder, 'backups')
  const broken: (string | undefined)[] = []
  for (const { name } of backupPoints) {
    broken.push(await killed(world, name, 'backup', 'create'))
    const whole = readdirSync(folder).filter((file) => file.endsWith('.backup'))
    if (whole.length > 0) broken.push(`killed at "${name}" it has its name`)
  }
  await done(world, 'backup', 'create', '--to', 'backups/whole.backup')
  if (readdirSync(folder).join() !== 'whole.backup') broken.push(`left over: ${readdirSync(folder).join()}`)
  await done(world, 'backup', 'verify', 'backups/whole.backup')
  await people.stop()
  await world.settle(patience)
  return await world.outcome(broken)
}

async function killedRestore({ seed, mutant, patience = 30_000 }: Play): Promise<Outcome> {
  await using world = await createWorld({ seed, mutant })
  await world.start()
  const people = load(world)
  await answered(world, 10)
  await people.stop()
  await world.settle(patience)
  await world.token()
  await done(world, 'backup', 'create', '--to', 'kept.backup')
  await world.posthouse.stop()
  const broken: (string | undefined)[] = []
  const begins: string[] = []
  for (const { name } of restorePoints) {
    broken.push(await killed(world, name, 'backup', 'restore', '--from', 'kept.backup', '--replace'))
    // Whole or refused: never a half, never something new.
    const refusal = await world.posthouse.cliWith(withMutant(world.mutant, {}), 'status')
    begins.push(refusal.code === 0 ? name : '')
    if (refusal.code !== 0 && !/did not end/.test(refusal.stderr)) broken.push(`after "${name}" it says ${refusal.stderr}`)
  }
  const whole = begins.filter(Boolean).join(', ')
  if (whole !== 'backup read, mark written, old one linked, after the last commit') broken.push(`a gateway would begin after: ${whole}`)
  await done(world, 'backup', 'restore', '--from', 'kept.backup', '--replace')
  const outcome = await judge(world, patience, '')
  return { ...outcome, broken: [...outcome.broken, ...broken.filter((one) => typeof one === 'string')] }
}

async function fullDisk({ seed, mutant, patience = 30_000 }: Play): Promise<Outcome> {
  await using world = await createWorld({ seed, mutant })
  await world.start()
  const people = load(world)
  await answered(world, 30)
  const small = join(world.posthouse.folder, 'small')
  mkdirSync(small)
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', small]).status !== 0) throw new Error('tmpfs could not be mounted')
  try {
    const { code, stdout, stderr } = await world.posthouse.cli('backup', 'create', '--to', 'small/a.backup')
    const left = readdirSync(small)
    await people.stop()
    await world.settle(patience)
    return await world.outcome([
      code === 0 && 'it says that all is well',
      !/is full/.test(stderr) && `it says: ${stdout}${stderr}`,
      left.length > 0 && `left over: ${left.join()}`,
      existsSync(join(small, 'a.backup')) && 'half of it has its name',
    ])
  } finally {
    spawnSync('umount', ['-l', small])
    rmSync(small, { recursive: true, force: true })
  }
}

const cases: Readonly<Record<string, (play: Play) => Promise<Outcome>>> = {
  'under load': underLoad,
  'a backup that is killed': killedBackup,
  'a restore that is killed': killedRestore,
  'a full disk': fullDisk,
}

const backups: Row = {
  id: 'F14',
  title: 'A backup under load, restored elsewhere',
  injection:
    'a backup under 20 messages/s, some with files, restored into another place; kill -9 at five points of a backup and ten of a restore; a backup to a disk of 256 KB',
  invariant:
    'counts equal the manifest; nothing is received or sent before an operator lets it, then nothing doubled; what is killed is never taken for a whole one, and no gateway begins on it; of a full disk nothing is left',
  bound: 'settled in 30 s',
  parts: Object.keys(cases),
  seeds: 2,
  partNeeds: { 'a full disk': ['root', 'mounts'] },
  run: async (play) => await (cases[play.part] ?? underLoad)(play),
}

export const backupRows: readonly Row[] = [backups]
