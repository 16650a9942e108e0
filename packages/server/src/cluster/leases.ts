/** Leases in this process: looked for, held, given back. */
import type { Logger } from '@posthouse/contract'
import type { Clock } from '../base/clock.ts'
import { type Lease, type LeaseStore, type Leases, StaleLease } from '../ports/leases.ts'
import type { Node } from '../ports/node.ts'

/** Milliseconds between two looks whether a lease is free; at the most for giving one back. */
const [LOOK, GIVE] = [1000, 2000]

export function createLeases(parts: {
  readonly store: LeaseStore
  readonly node: Node
  readonly clock: Clock
  readonly log: Logger
}): Leases {
  const { store, node, clock, log } = parts
  const held = new Set<Lease>()

  const take = async (name: string): Promise<Lease | undefined> => {
    if (!node.live) return undefined
    try {
      // A look changes nothing, so it costs next to nothing.
      return (await store.free(name)) ? await store.take(name, node.id) : undefined
    } catch (error) {
      log.warn({ err: error, lease: name }, 'a lease could not be asked for; it is tried again')
      return undefined
    }
  }

  const giveBack = async (lease: Lease) => {
    held.delete(lease)
    const late = new AbortController()
    // Without the database it goes with the node.
    await Promise.race([store.release(lease).catch(() => {}), clock.sleep(GIVE, late.signal)])
    late.abort()
  }

  return {
    async keep(name, signal, work, waiting) {
      let told = false
      while (!signal.aborted) {
        const lease = await take(name)
        if (lease) {
          told = false
          held.add(lease)
          log.info({ lease: name, epoch: lease.epoch }, 'this node has the lease')
          // Taken just before the incarnation ended, it is of no use.
          const { ended } = node
          const ours = AbortSignal.any([signal, ended])
          const demand = () => {
            if (ours.aborted || !node.live || node.id !== lease.node) throw new StaleLease(`the lease ${name} may be another's by now`)
          }
          try {
            if (node.id === lease.node) await work({ lease, demand }, ours)
          } finally {
            await giveBack(lease)
          }
        } else if (!told) {
          told = true
          waiting?.()
        }
        if (!signal.aborted) await clock.sleep(LOOK, signal)
      }
    },
    get held() {
      return [...held]
    },
  }
}
