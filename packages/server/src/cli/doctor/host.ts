/** The machine: Node, memory, clock, disk, port. */
import { existsSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { freemem, totalmem } from 'node:os'
import { dirname } from 'node:path'
import { availableMemory, constrainedMemory, versions } from 'node:process'
import type { Config } from '../../config/index.ts'
import { freeRatio } from '../../ops/index.ts'
import { askGateway } from '../local.ts'
import { explainFailure } from '../remedy.ts'
import { type Check, check, fail, ok, warn } from './finding.ts'

const LEAST_NODE = 26
const MB = 1024 * 1024
const LEAST_MEMORY = 512 * MB
const LEAST_FREE_MEMORY = 150 * MB
/** Below the first the gateway takes no message; the second leaves time to act. */
const LEAST_DISK = 0.02
const FEW_DISK = 0.1
/** Before this the product was not there. */
const EARLIEST = Date.UTC(2026, 0, 1)
const MOST_DRIFT = 120_000

/** Without a usable configuration what needs none. */
export function checkHost(config: Config | undefined): Check[] {
  const checks = [
    check('host', 'node', () => checkNode()),
    check('host', 'memory', checkMemory),
    check('host', 'clock', (signal) => checkClock(config, signal)),
  ]
  if (!config) return checks
  return [...checks, check('host', 'disk', () => checkDisk(config.dataFolder)), check('host', 'port', () => checkPort(config))]
}

export function checkNode(version: string = versions.node) {
  if (Number.parseInt(version, 10) >= LEAST_NODE) return ok(`Node ${version}`, `Node ${version}`)
  return fail(`Node ${version} is too old; ${LEAST_NODE} is needed`, `Node ${version} 过旧，需要 ${LEAST_NODE}`, 'npm start')
}

function checkMemory() {
  // In a container its limit counts, not the machine; 0 and absurd figures stand for none.
  const limit = constrainedMemory()
  const total = limit > 0 && limit < totalmem() ? limit : totalmem()
  const free = Math.min(availableMemory() || freemem(), total)
  const text = `${Math.round(free / MB)} MB / ${Math.round(total / MB)} MB`
  if (total < LEAST_MEMORY || free < LEAST_FREE_MEMORY)
    return warn(`little memory: ${text} free`, `内存不足：可用 ${text}`, {
      en: `free at least ${LEAST_FREE_MEMORY / MB} MB: ps aux --sort=-rss | head`,
      zh: `请至少释放 ${LEAST_FREE_MEMORY / MB} MB：ps aux --sort=-rss | head`,
    })
  return ok(`${text} free`, `可用 ${text}`)
}

const REMEDY = 'sudo timedatectl set-ntp true'

/** Against the times of the data, and against the clock of a server that is configured anyway. */
async function checkClock(config: Config | undefined, signal: AbortSignal) {
  const now = Date.now()
  const date = new Date(now).toISOString()
  if (now < EARLIEST) return fail(`it is ${date}: the clock is wrong`, `当前时间为 ${date}，时钟不正确`, REMEDY)
  const written = config?.database.path ? (statSync(config.database.path, { throwIfNoEntry: false })?.mtimeMs ?? 0) : 0
  if (written > now + MOST_DRIFT) return warn('the clock is behind the last change of the data', '时钟早于数据的最后修改时间', REMEDY)
  const drift = config && (await driftOf(config, signal))
  if (drift !== undefined && Math.abs(drift) > MOST_DRIFT) {
    const seconds = Math.round(drift / 1000)
    return warn(`the clock differs by ${seconds} s from that of a server`, `时钟与服务器相差 ${seconds} 秒`, REMEDY)
  }
  return ok(date, date)
}

const CLOCK_PATIENCE = 5000

/** How far the first server that answers is ahead of us; undefined when none does. */
async function driftOf({ models, accounts }: Config, signal: AbortSignal): Promise<number | undefined> {
  const addresses = [...models.endpoints.map(({ settings }) => settings.base_url), ...accounts.map(({ settings }) => settings.api_root)]
  for (const address of new Set(addresses)) {
    if (typeof address !== 'string') continue
    try {
      const patience = AbortSignal.any([signal, AbortSignal.timeout(CLOCK_PATIENCE)])
      const response = await fetch(new URL(address).origin, { method: 'HEAD', redirect: 'manual', signal: patience })
      const theirs = Date.parse(response.headers.get('date') ?? '')
      if (!Number.isNaN(theirs)) return theirs - Date.now()
    } catch {
      // The checks of models and channels tell that it cannot be reached.
    }
  }
  return undefined
}

async function checkDisk(folder: string) {
  let there = folder
  while (!existsSync(there) && dirname(there) !== there) there = dirname(there)
  const free = await freeRatio(there)
  const percent = `${(free * 100).toFixed(1)} %`
  const remedy = `du -xh --max-depth=2 ${there} | sort -h | tail`
  if (free < LEAST_DISK) return fail(`${percent} free: no message is taken`, `剩余 ${percent}：将不再接收消息`, remedy)
  if (free < FEW_DISK) return warn(`${percent} free`, `剩余 ${percent}`, remedy)
  return ok(`${percent} free at ${there}`, `${there} 剩余 ${percent}`)
}

async function checkPort(config: Config) {
  const { host, port } = config.server
  const place = `${host}:${port}`
  if (port === 0) return ok('any free port', '任意空闲端口')
  const health = (await askGateway({ config }, '/healthz')) as { status?: unknown; version?: unknown } | undefined
  if (health?.status === 'ok' && typeof health.version === 'string')
    return ok(`${place} is in use by Posthouse`, `${place} 由 Posthouse 使用`)
  try {
    await listenOnce(host, port)
    return ok(`${place} is free`, `${place} 空闲`)
  } catch (error) {
    const { en, zh } = explainFailure(error, config).words
    return fail(en, zh, (error as { code?: string }).code === 'EADDRINUSE' ? `ss -ltnp 'sport = :${port}'` : undefined)
  }
}

function listenOnce(host: string, port: number): Promise<void> {
  const server = createServer()
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve()))
  })
}
