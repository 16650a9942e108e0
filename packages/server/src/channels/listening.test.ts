import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Channel, type Connection, DeliveryError, type Listener } from '@posthouse/contract'
import { email } from './email/index.ts'
import { keepListening } from './listening.ts'
import { telegram } from './telegram/index.ts'

/** Fails as it is told, one time after the other, and then listens; `heard` before a failure: it had received something. */
async function listens(channel: Pick<Channel, 'setbacks'>, failures: readonly (Error | 'heard')[], random = 0.5) {
  const leaving = new AbortController()
  const waits: number[] = []
  const told: string[] = []
  let signs = 0
  let at = 0
  const connection = {
    async listen() {
      while (failures[at] === 'heard') {
        signs++
        at++
      }
      const failure = failures[at++]
      if (failure instanceof Error) throw failure
      leaving.abort()
    },
  } as unknown as Connection
  await keepListening(
    {
      channel,
      connection,
      host: {} as Listener,
      clock: { sleep: async (ms) => void waits.push(ms) },
      heard: () => signs,
      report: (state, problem) => told.push(`${state}: ${problem}`),
      random: () => random,
    },
    leaving.signal,
  )
  return { waits, told }
}
const times = <T>(count: number, of: T) => Array.from({ length: count }, () => of)
const failure = (kind: DeliveryError['kind'], retryAfter?: number) =>
  new DeliveryError(kind, 'because', retryAfter === undefined ? {} : { retryAfter })

test('a platform that is down is tried again and again, with a back-off that is capped and jittered', async () => {
  for (const random of [0, 0.5, 1]) {
    const { waits, told } = await listens(telegram, times(12, failure('transient')), random)
    assert.ok(
      waits.every((ms, index) => ms >= 500 && ms <= 30_000 && ms >= (waits[index - 1] ?? 0)),
      String(waits),
    )
    assert.equal(waits.at(-1), 30_000 * (0.75 + random / 4))
    assert.deepEqual(new Set(told), new Set(['degraded: Telegram is not reachable; it is being tried again (because)']))
  }
})

test('a conflict and refused credentials are tried no sooner than after half a minute, as each channel says', async () => {
  const { waits, told } = await listens(telegram, [failure('auth'), failure('conflict')])
  assert.ok(waits.length === 2 && waits.every((ms) => ms >= 30_000), String(waits))
  assert.deepEqual(
    told.map((line) => line.split(':')[0]),
    ['needs-auth', 'conflict'],
  )
  const mail = await listens(email, times(9, failure('auth')))
  assert.ok(mail.waits[0] && mail.waits[0] >= 60_000 && mail.waits.every((ms) => ms <= 900_000), String(mail.waits))
})

test('the platform may ask for longer; who heard something begins anew; what we did wrong ourselves is told as such', async () => {
  const { waits, told } = await listens({}, [
    failure('rate-limited', 77_000),
    failure('transient'),
    failure('transient'),
    'heard',
    failure('transient'),
    new Error('ours'),
  ])
  assert.equal(waits[0], 77_000)
  assert.ok((waits[3] ?? 0) < (waits[2] ?? 0), String(waits))
  assert.match(told.at(-1) ?? '', /^degraded: the gateway could not keep its place/)
})
