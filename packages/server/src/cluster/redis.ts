/** What nodes share over Redis: frames, rates, and what is worth keeping for a while. Nothing that matters is in it: it may be emptied or go at any time (law 3). */
import type { Logger } from '@posthouse/contract'
import type { Clock } from '../base/clock.ts'
import type { SharedTier } from '../ports/cache.ts'
import type { Live } from '../ports/live.ts'
import type { Observer } from '../ports/observer.ts'
import type { Outside } from '../ports/outside.ts'
import type { Rates } from '../ports/rates.ts'
import type { Sealer } from '../ports/sealer.ts'
import { openBus } from './bus.ts'
import { createLocalRates } from './rates.ts'
import { createSharedLive, type SharedLive } from './shared-live.ts'
import { createSharedRates } from './shared-rates.ts'
import { createSharedTier } from './shared-tier.ts'
import { createSingleLive } from './single.ts'

export interface Shared extends Outside, AsyncDisposable {
  readonly live: Live
  readonly rates: Rates
  readonly tier: SharedTier
}

/** Answers at once, whether Redis is there or not. @throws when the address cannot be read. */
export async function openShared(options: {
  readonly url: string
  readonly prefix: string
  readonly node: string
  readonly sealer: Sealer
  readonly pseudonym: (name: string) => string
  readonly clock: Clock
  readonly log: Logger
  readonly observer: Pick<Observer, 'frame'>
}): Promise<Shared> {
  const { prefix, pseudonym, clock } = options
  const local = createSingleLive()
  let live: SharedLive | undefined
  const bus = await openBus({
    ...options,
    heard: (message) => live?.heard(message),
    back: () => local.missed(),
    resent: () => live?.tellMissed(),
  })
  live = createSharedLive({ ...options, local, send: bus.send, hearing: () => bus.problem === undefined })
  return {
    live,
    rates: createSharedRates({ bus, local: createLocalRates(clock), prefix, pseudonym }),
    tier: createSharedTier({ bus, prefix, clock }),
    get problem() {
      return bus.problem
    },
    [Symbol.asyncDispose]: () => bus[Symbol.asyncDispose](),
  }
}
