/** What rows ask nodes while a server is away, people who go on asking, and how long those waited by the platform's ledger. */
import { until } from '../../journeys/posthouse.ts'
import { SECRET } from '../world.ts'
import type { Cluster } from './world.ts'

export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** People ask, one question every so many milliseconds, until it is ended. */
export function keepAsking(world: Cluster, { every = 40, chats = 30, wish = '' } = {}): Disposable & { end(): void } {
  const timer = setInterval(() => world.ask({ chat: 1001 + Math.floor(world.random() * chats), wish }), every)
  const end = () => clearInterval(timer)
  return { end, [Symbol.dispose]: end }
}

/** What a node said to an update, and after how long. Status 0: nothing. */
export interface Said {
  readonly node: string
  readonly status: number
  readonly retryAfter: string | null
  readonly took: number
}

/** Longer than any limit of a node: who says nothing until then says nothing at all. */
const PATIENCE = 20_000

/** Posts a question to a node, once, as the platform would; the platform itself hands it to whom it likes. Its chat is new: the order of two of them is nobody's. */
export async function post(world: Cluster, node: string): Promise<Said> {
  const { said: update } = world.ask({ chat: 5000 + world.asked.length })
  const headers = { 'content-type': 'application/json', 'x-telegram-bot-api-secret-token': SECRET }
  const began = performance.now()
  const request = { method: 'POST', headers, body: JSON.stringify(update), signal: AbortSignal.timeout(PATIENCE) }
  const response = await fetch(`${world.node(node).url}/api/webhook/telegram`, request).catch(() => undefined)
  return { node, status: response?.status ?? 0, retryAfter: response?.headers.get('retry-after') ?? null, took: performance.now() - began }
}

/** Posts questions to every node for so long, two at a time each; answers what was said. */
export async function postAll(world: Cluster, duration: number): Promise<readonly Said[]> {
  const end = performance.now() + duration
  const said: Said[] = []
  const loop = async (node: string) => {
    while (performance.now() < end) {
      said.push(await post(world, node))
      await pause(100)
    }
  }
  await Promise.all(world.nodes.flatMap(({ name }) => [loop(name), loop(name)]))
  return said
}

/** What is wrong with what nodes said while they could commit nothing: all of it is a refusal with the word when to come again, in good time. */
export function wrongRefusals(said: readonly Said[], within: number): readonly (string | false)[] {
  const taken = said.filter(({ status }) => status === 200)
  const others = said.filter(({ status }) => status !== 200 && status !== 503)
  const hasty = said.filter(({ status, retryAfter }) => status === 503 && !(Number(retryAfter) >= 1))
  const late = said.filter(({ took }) => took > within)
  const told = (list: readonly Said[]) => list.slice(0, 3).map(({ node, status, took }) => `${node} ${status} after ${Math.round(took)} ms`)
  return [
    said.length === 0 && 'nobody was asked',
    taken.length > 0 && `${taken.length} of ${said.length} were acknowledged`,
    others.length > 0 && `${others.length} of ${said.length} were not refused with 503: ${told(others)}`,
    hasty.length > 0 && `${hasty.length} of ${said.length} were not told when to come again`,
    late.length > 0 && `${late.length} of ${said.length} waited too long: ${told(late)}`,
  ]
}

interface Readiness {
  readonly ready: boolean
  readonly degraded: readonly { readonly server: string; readonly problem: string }[]
}

/** What each node says of itself; not ready is who says nothing. */
export function readiness(world: Cluster): Promise<readonly Readiness[]> {
  const ask = async (url: string): Promise<Readiness> => {
    try {
      const response = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(5000) })
      const { degraded } = (await response.json()) as Readiness
      return { ready: response.status === 200, degraded }
    } catch {
      return { ready: false, degraded: [] }
    }
  }
  return Promise.all(world.nodes.map(({ url }) => ask(url)))
}

export const allReady = async (world: Cluster) => (await readiness(world)).every(({ ready }) => ready)
export const noneReady = async (world: Cluster) => (await readiness(world)).every(({ ready }) => !ready)

/** Every node says this of that server; `undefined`: that nothing is wrong with it. */
export async function allSay(world: Cluster, server: string, problem: string | undefined): Promise<boolean> {
  return (await readiness(world)).every(
    ({ ready, degraded }) => ready && degraded.find((one) => one.server === server)?.problem === problem,
  )
}

/** Milliseconds from the acknowledgement of each question said since then to its answer; the longest last. */
export function waits({ asked, telegram }: Cluster, since: number): readonly number[] {
  const taken = new Map(telegram.confirmations.map((one) => [one.update_id, one]))
  const answered = new Map<number, number>()
  for (const { text, at } of telegram.posted()) {
    const number = Number(/\bm(\d+)p1\b/.exec(text)?.[1])
    if (!answered.has(number)) answered.set(number, at)
  }
  return asked
    .flatMap(({ update, number }) => {
      const confirmation = taken.get(update)
      const at = answered.get(number)
      return confirmation && at !== undefined && confirmation.said >= since ? [Math.max(0, at - confirmation.at)] : []
    })
    .toSorted((a, b) => a - b)
}

/** Waits until every node is ready and takes a new message; answers how long that took, in milliseconds since then. */
export async function servesAgain(world: Cluster, since: number): Promise<number> {
  await until(() => allReady(world), 'every node is ready', 60_000)
  const takes = async (node: string) => (await post(world, node)).status === 200
  for (const { name } of world.nodes) await until(() => takes(name), 'every node takes messages', 60_000)
  return performance.now() - since
}
