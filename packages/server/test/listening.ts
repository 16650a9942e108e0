/** An account that is open and kept listening, as the gateway does it, with a clock that no back-off holds up. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Channel, Connection } from '@posthouse/contract'
import { type FakeHost, until } from '@posthouse/testkit'
import { keepListening } from '../src/channels/listening.ts'

/** Time that passes at once; what would have been waited for is kept for looking at. */
export function quickClock(waits: number[] = []) {
  const wait = async (ms: number, signal?: AbortSignal) => {
    waits.push(ms)
    await sleep(Math.min(ms, 5), undefined, signal ? { signal } : {}).catch(() => undefined)
  }
  return { now: Date.now, wait, sleep: wait }
}

export async function openListening<S>(channel: Channel<S>, settings: S, host: FakeHost, waits?: number[]): Promise<Connection> {
  const connection = await channel.open(settings, host, new AbortController().signal)
  const leaving = new AbortController()
  const clock = quickClock(waits)
  const listening = keepListening(
    { channel, connection, host, clock, heard: () => host.signs, report: host.report, random: () => 0.5 },
    leaving.signal,
  )
  const before = host.signs + host.reports.length
  await until(() => host.signs + host.reports.length > before, 'it listens, or tells why not')
  return Object.create(connection, {
    [Symbol.asyncDispose]: {
      value: async () => {
        leaving.abort()
        await connection[Symbol.asyncDispose]()
        await listening
      },
    },
  })
}
