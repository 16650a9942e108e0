/**
 * This process as a node: it tells the database again and again that it is there, and knows by itself when it could not for too long. From then on it begins
 * nothing, before others take it for dead; when the database takes its word again, it is a new incarnation that owns nothing of the old one.
 */
import type { Logger } from '@posthouse/contract'
import type { Clock } from '../base/clock.ts'
import type { NewId } from '../base/ids.ts'
import type { Node, NodeStore } from '../ports/node.ts'

/** Milliseconds between two signs of life, until others take us for dead, until we do so ourselves, between two looks after the others. */
const FIGURES = { beat: 10_000, ttl: 30_000, fence: 25_000, look: 2000 }
/** After a sign of life that did not reach the database. */
const AGAIN = 1000

export interface OwnNode extends Node, AsyncDisposable {
  /** Tells the others that it is about to leave. */
  drain(): void
}

export async function joinNodes(parts: {
  readonly nodes: NodeStore
  readonly name: string
  readonly version: string
  readonly clock: Clock
  readonly newId: NewId
  readonly log: Logger
  /** The incarnation that the last process in our place left. */
  readonly former: string | undefined
  /** Told before an incarnation joins, so that the next process knows what is certainly over. */
  readonly remember: (id: string) => void
  /** Told when other nodes come or go: who is there now. */
  readonly met: (others: readonly string[]) => void
}): Promise<OwnNode> {
  const { nodes, name, version, clock, newId, log, remember } = parts
  let id = newId()
  let incarnation = new AbortController()
  let seen = clock.elapsed()
  let draining = false
  let others: readonly string[] = []
  const closing = new AbortController()
  // The only one there is has nobody to fear.
  const isLive = () => !nodes.shared || (!incarnation.signal.aborted && clock.elapsed() - seen < FIGURES.fence)

  const fence = (why: string) => {
    if (incarnation.signal.aborted) return
    log.error({ node: id, why }, 'this node stops its work until the database knows it again')
    incarnation.abort()
  }
  /** Timers may come late: `live` is what counts, this only wakes who waits. */
  const watch = async () => {
    while (!closing.signal.aborted) {
      const left = seen + FIGURES.fence - clock.elapsed()
      if (left <= 0 && nodes.shared) fence('the database could not be told for too long')
      await clock.sleep(left > 0 ? left : AGAIN, closing.signal)
    }
  }
  const join = async (as: string, formerly: readonly string[]) => {
    remember(as)
    await nodes.join({ id: as, name, version }, FIGURES.ttl, formerly)
  }
  const comeBack = async (began: number) => {
    // Whoever works on must hear of it, however late this is.
    fence('the others may take it for dead')
    const [former, next] = [id, newId()]
    await join(next, [former])
    id = next
    seen = began
    incarnation = new AbortController()
    log.info({ node: id, former }, 'this node is back at work')
  }
  const beat = async () => {
    while (!closing.signal.aborted) {
      const began = clock.elapsed()
      let told = false
      try {
        if (isLive() && (await nodes.beat(id, FIGURES.ttl, draining))) seen = began
        else await comeBack(began)
        told = true
      } catch (error) {
        log.warn({ err: error }, 'the database could not be told that this node is there; it is tried again')
      }
      // One that came through after the fence fell says nothing for the next incarnation.
      await clock.sleep(told && isLive() ? FIGURES.beat : AGAIN, closing.signal)
    }
  }
  const look = async () => {
    const known = (await nodes.list()).filter((each) => each.id !== id)
    const now = known.filter(({ alive }) => alive).map((each) => each.name)
    if (now.join() !== others.join()) parts.met(now)
    others = now
    if (known.length === now.length) return
    for (const other of await nodes.bury(id)) log.warn({ other }, 'a node was not seen for too long; the others take over its work')
  }
  const keepLooking = async () => {
    while (nodes.shared && !closing.signal.aborted) {
      // What the database does not tell now, it tells with the next look.
      if (isLive()) await look().catch(() => {})
      await clock.sleep(FIGURES.look, closing.signal)
    }
  }

  await join(id, parts.former === undefined ? [] : [parts.former])
  const loops = [watch(), beat(), keepLooking()]
  return {
    get id() {
      return id
    },
    get live() {
      return isLive()
    },
    get others() {
      return others
    },
    get ended() {
      return incarnation.signal
    },
    drain() {
      draining = true
      nodes.beat(id, FIGURES.ttl, draining).catch(() => {})
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      await Promise.all(loops)
      await nodes.leave(id).catch(() => {})
    },
  }
}
