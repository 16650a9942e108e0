/**
 * `npm run soak -- --minutes 10`: 20 messages a second over 201 conversations: a third each are web chats, Telegram, and mail on real servers. Nothing
 * may be lost, and nothing may grow: memory, descriptors, threads, and the database beyond what was said.
 */
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { parseArgs } from 'node:util'
import { until } from '../journeys/posthouse.ts'
import { noMailServers } from '../mail/servers.ts'
import { type Asked, audit } from './auditor.ts'
import { descriptorsOf, memoryOf } from './machine.ts'
import { openMailboxes } from './mailboxes.ts'
import { openPage, type Seen } from './pages.ts'
import { preloading } from './preload/edit.ts'
import { createWorld } from './world.ts'

const { values: given } = parseArgs({ options: { minutes: { type: 'string', default: '10' } } })
const MINUTES = Number(given.minutes)
/** Web chat, Telegram and e-mail have a third of the conversations and of the messages each. */
const KIND = { conversations: 67, every: 150 }
const SAMPLE = 4000
/** Minutes until the caches of so many conversations are full; what grows behind that is judged. */
const WARM_UP = Math.max(7, MINUTES / 4)
/** In a short run a few MB of noise, and caches that fill, are many an hour. */
const MOST_GROWTH = { held: MINUTES >= 120 ? 1 : 20, memory: MINUTES >= 120 ? 5 : 120, descriptors: 15, threads: 2, bytesPerMessage: 4096 }

interface Sample {
  readonly at: number
  /** MB: what is held after a collection, and what the system sees. */
  readonly held: number
  readonly memory: number
  readonly descriptors: number
  readonly threads: number
}

/** Rise of a straight line through the values, per hour. */
function slope(samples: readonly Sample[], of: (sample: Sample) => number): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
  const at = mean(samples.map((sample) => sample.at))
  const value = mean(samples.map(of))
  const over = samples.reduce((sum, sample) => sum + (sample.at - at) * (of(sample) - value), 0)
  const under = samples.reduce((sum, sample) => sum + (sample.at - at) ** 2, 0)
  return (over / under) * 3_600_000
}

const say = (line: string) => process.stdout.write(`${line}\n`)
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

if (noMailServers) throw new Error(noMailServers)
await using mailboxes = await openMailboxes(KIND.conversations)
await using world = await createWorld({
  seed: 1,
  mode: 'webhook',
  telegram: { keep: 50_000 },
  config: { resources: { requests_per_minute: 1_000_000 }, channels: { desk: mailboxes.account } },
})
const { posthouse, telegram } = world
writeFileSync(join(posthouse.folder, 'ca.pem'), mailboxes.certificate)
await world.start(preloading({}, 'collect'))
const database = join(posthouse.folder, 'data/posthouse.db')
const sizes = () => ['', '-wal'].reduce((sum, end) => sum + (statSync(`${database}${end}`, { throwIfNoEntry: false })?.size ?? 0), 0)
const token = await world.token()
const seen: Seen = { accepted: new Set(), posted: [] }
const pages = await Promise.all(Array.from({ length: KIND.conversations }, (_, n) => openPage(posthouse.url, token, n, seen)))
await until(() => telegram.webhook !== undefined, 'the webhook is set')

/** As the process wrote it down after its last collection. */
const heldMemory = () => {
  try {
    const { heapUsed, external } = JSON.parse(readFileSync(join(posthouse.folder, 'memory'), 'utf8')) as NodeJS.MemoryUsage
    return (heapUsed + external) / 1024 / 1024
  } catch {
    return Number.NaN
  }
}
const onPages: Asked[] = []
const byMail: Asked[] = []
const question = (asked: Asked[], chat: number): number => {
  const number = asked.length + 1
  asked.push({ number, chat, update: number, text: `m${number}p1`, parts: 1 })
  return number
}
const anybody = () => Math.floor(world.random() * KIND.conversations)
const samples: Sample[] = []
const began = performance.now()
const end = began + MINUTES * 60_000
const first = sizes()
let next = began
let sampled = 0
while (performance.now() < end) {
  const page = anybody()
  pages[page]?.say(question(onPages, page))
  const person = anybody()
  mailboxes.say(person, question(byMail, person))
  world.ask({ chat: 1001 + anybody() })
  if (performance.now() - sampled > SAMPLE) {
    sampled = performance.now()
    const { all: descriptors, threads } = descriptorsOf(posthouse.pid)
    samples.push({ at: sampled, held: heldMemory(), memory: memoryOf(posthouse.pid).now, descriptors, threads })
    if (samples.length % 15 === 0)
      say(
        `${samples.length / 15} min: ${samples.at(-1)?.held.toFixed(1)} MB held, ${Math.round(samples.at(-1)?.memory ?? 0)} MB in all, ${descriptors} descriptors, ${threads} threads`,
      )
  }
  next += KIND.every
  await pause(Math.max(0, next - performance.now()))
}
await world.settle(30_000)
await until(() => seen.posted.length >= onPages.length, 'the pages have all answers', 30_000).catch(() => {})
await until(() => mailboxes.waiting === 0 && mailboxes.arrived >= byMail.length, 'people have their mails', 60_000).catch(() => {})
const outcome = await world.outcome()
const unmarked = { toolRuns: [], dead: [], maybe: [] }
const web = audit({ asked: onPages, confirmed: seen.accepted, posted: seen.posted, ...unmarked })
const mail = audit({ asked: byMail, confirmed: mailboxes.confirmed(), posted: await mailboxes.posted(), ...unmarked })
const kinds = [outcome, web, mail]
const all = kinds.reduce((sum, { asked }) => sum + asked, 0)
const bytes = (sizes() - first) / all
for (const page of pages) page.close()
await posthouse.stop()

// Three weeks later the rows that have served their time are gone, and what was said is still there.
await world.start(preloading({ CHAOS_DAYS: '21' }, 'crash'))
const count = (table: string) => {
  const opened = new DatabaseSync(database, { readOnly: true, timeout: 5000 })
  try {
    return Number(Object.values(opened.prepare(`SELECT count(*) FROM ${table}`).get() ?? {})[0])
  } finally {
    opened.close()
  }
}
await until(() => count('inbox') + count('outbox') === 0, 'the rows of inbox and outbox are pruned', 60_000).catch(() => {})
const left = count('inbox') + count('outbox')
const kept = count('messages')

const known = samples.filter(({ held }) => !Number.isNaN(held))
const warm = known.filter(({ at }) => at > began + WARM_UP * 60_000)
/** A run that ended before is shown, and not judged by its memory. */
const judged = warm.length >= 20
const late = judged ? warm : known
/** What comes and goes with each connection is compared as the means of two halves. */
const risenBy = (of: (sample: Sample) => number) => {
  const mean = (part: readonly Sample[]) => part.reduce((sum, sample) => sum + of(sample), 0) / part.length
  const middle = Math.floor(late.length / 2)
  return Math.round(mean(late.slice(middle)) - mean(late.slice(0, middle)))
}
const growth = {
  held: slope(late, ({ held }) => held),
  memory: slope(late, ({ memory }) => memory),
  descriptors: risenBy(({ descriptors }) => descriptors),
  threads: risenBy(({ threads }) => threads),
}
const problems = [
  ...Object.entries({ Telegram: outcome, web, mail }).flatMap(([kind, { lost, doubled, outOfOrder, asked, admitted }]) => [
    lost.length > 0 && `${kind}: lost ${lost.join(', ')}`,
    doubled.length > 0 && `${kind}: doubled ${doubled.join(', ')}`,
    outOfOrder.length > 0 && `${kind}: out of order ${outOfOrder.join(', ')}`,
    asked > admitted && `${kind}: ${asked - admitted} never admitted`,
  ]),
  judged && growth.held > MOST_GROWTH.held && `held memory grows by ${growth.held.toFixed(1)} MB an hour`,
  judged && growth.memory > MOST_GROWTH.memory && `memory grows by ${growth.memory.toFixed(1)} MB an hour`,
  judged && growth.descriptors > MOST_GROWTH.descriptors && `${growth.descriptors} more descriptors`,
  judged && growth.threads > MOST_GROWTH.threads && `${growth.threads} more threads`,
  judged && bytes > MOST_GROWTH.bytesPerMessage && `${Math.round(bytes)} bytes for each message`,
  left > 0 && `${left} rows of inbox and outbox outlived their time`,
  kept < all * 2 && `only ${kept} messages are kept`,
].filter((problem) => typeof problem === 'string')
say(
  `${outcome.asked} on Telegram, ${web.asked} on pages, ${mail.asked} by mail; lost ${kinds.flatMap(({ lost }) => lost).length}, doubled ${kinds.flatMap(({ doubled }) => doubled).length}`,
)
const signed = (value: number) => (value >= 0 ? `+${value}` : String(value))
const risen = (of: (sample: Sample) => number, perHour: number) =>
  `${late
    .slice(0, 1)
    .concat(late.slice(-1))
    .map((sample) => Math.round(of(sample)))
    .join(' MB, at the end ')} MB (${signed(Math.round(perHour))} MB an hour)`
if (!judged) say(`memory and growth are judged after ${WARM_UP} minutes`)
say(`held after a collection ${risen(({ held }) => held, growth.held)}; in all ${risen(({ memory }) => memory, growth.memory)}`)
say(`descriptors ${signed(growth.descriptors)}, threads ${signed(growth.threads)}`)
say(`database ${Math.round(bytes)} bytes for each message; after retention ${left} rows of inbox and outbox, ${kept} messages`)
say(problems.length > 0 ? `red:\n  ${problems.join('\n  ')}` : 'green')
process.exitCode = problems.length > 0 ? 1 : 0
