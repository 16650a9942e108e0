/** What the gateway does with an open account, in short: it keeps it listening, tells what went wrong, and tries again. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Channel, Connection, ConnectionState, DeliveryError, DeliveryFailure } from '@posthouse/contract'
import { until } from './channel.ts'
import type { FakeHost } from './host.ts'

const STATES: Partial<Record<DeliveryFailure, ConnectionState>> = {
  auth: 'needs-auth',
  conflict: 'conflict',
  'rate-limited': 'rate-limited',
}
/** The gateway waits for longer, and longer each time. */
const PAUSE = 5

/** Opens an account and listens until it is disposed. Resolves when it heard something, or told why not. */
export async function openListening<S>(channel: Channel<S>, settings: S, host: FakeHost): Promise<Connection> {
  const connection = await channel.open(settings, host, new AbortController().signal)
  const leaving = new AbortController()
  const { signal } = leaving
  const listen = async () => {
    while (!signal.aborted) {
      try {
        await connection.listen?.(host, signal)
      } catch (error) {
        const { kind, message } = error as DeliveryError
        const remedy = (channel.setbacks?.[kind] ?? channel.setbacks?.transient)?.remedy
        if (!signal.aborted) host.report(STATES[kind] ?? 'degraded', remedy ? `${remedy} (${message})` : message)
      }
      await sleep(PAUSE, undefined, { signal }).catch(() => undefined)
    }
  }
  const before = host.signs + host.reports.length
  const listening = listen()
  if (connection.listen) await until(() => host.signs + host.reports.length > before, 'it listens, or tells why not')
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
