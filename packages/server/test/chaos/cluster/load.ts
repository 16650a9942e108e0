/** People who go on asking while something happens. */
import type { Cluster } from './world.ts'

export interface Load extends Disposable {
  /** Nobody asks any more. */
  stop(): void
}

const CHATS = 60

/** So many questions a second, in chats of its own; every twelfth answer is long on its way. */
export function keepAsking(world: Cluster, perSecond = 8): Load {
  let n = 0
  const timer = setInterval(() => {
    world.ask({ chat: 2001 + Math.floor(world.random() * CHATS), wish: n++ % 12 === 0 ? 'slow' : '' })
  }, 1000 / perSecond)
  const stop = () => clearInterval(timer)
  return { stop, [Symbol.dispose]: stop }
}

export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

/** One question in each of so many chats. */
export const askRound = (world: Cluster, chats = 12, wish = '') =>
  Array.from({ length: chats }, (_, chat) => world.ask({ chat: 3001 + chat, wish }))
