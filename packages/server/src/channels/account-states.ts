/** How each node finds its accounts, written down for commands beside it: a gateway's own word needs a token, and says nothing of the other nodes. */
import type { ConnectionState } from '@posthouse/contract'
import type { Clock } from '../base/clock.ts'
import type { KnownNode, Node } from '../ports/node.ts'
import type { AccountStateStore } from '../ports/store.ts'

export interface AccountStatus {
  readonly id: string
  readonly channel: string
  readonly state: ConnectionState | 'paused'
  readonly problem: string | undefined
  /** When the platform last gave a sign of life, by itself or to a probe. */
  readonly lastReceived: number | undefined
}

/** An account as one node finds it; `node`: its name. */
export interface AccountOfNode extends AccountStatus {
  readonly node: string
}

interface Written {
  /** The incarnation that wrote: what an earlier one found is over. */
  readonly by: string
  readonly accounts: readonly AccountStatus[]
}

const LOOK = 1000
/** How old a sign of life may be before a newer one is written down. */
const REFRESH = 30_000

/** Retention takes what nobody refreshes any more. */
const KEY = '~accounts'
/** No account has a colon in its name. */
const placeOf = (node: string) => `node:${node}`

export function keepAccountsKnown(parts: {
  readonly state: AccountStateStore
  readonly node: Pick<Node, 'id'>
  readonly name: string
  readonly clock: Clock
  status(): readonly AccountStatus[]
}): Disposable {
  const { state, node, name, clock, status } = parts
  let known = ''
  let knownAt = 0
  let writing = false
  const look = async () => {
    const written: Written = { by: node.id, accounts: status() }
    const next = JSON.stringify(written, (key, value) => (key === 'lastReceived' ? undefined : value))
    if (writing || (next === known && clock.elapsed() - knownAt < REFRESH)) return
    writing = true
    try {
      await state.set(placeOf(name), KEY, JSON.stringify(written))
      known = next
      knownAt = clock.elapsed()
    } catch {
      // Who looks is told of the database itself; it is tried again with the next look.
    } finally {
      writing = false
    }
  }
  return clock.every(LOOK, () => void look())
}

/** Of the nodes that are alive, ordered as these are. */
export async function accountsOf(state: AccountStateStore, nodes: readonly KnownNode[]): Promise<readonly AccountOfNode[]> {
  const all: AccountOfNode[] = []
  for (const { id, name, alive } of nodes) {
    const text = alive ? await state.get(placeOf(name), KEY) : undefined
    const written = text === undefined ? undefined : (JSON.parse(text) as Written)
    if (written?.by === id) all.push(...written.accounts.map((account) => ({ ...account, node: name })))
  }
  return all
}
