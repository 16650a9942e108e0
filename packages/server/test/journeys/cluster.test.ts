/** RabbitMQ and Redis beside one gateway, cut again and again: every message gets its one answer, and neither ever saw a word of it. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { createModelEmulator, createTelegramEmulator } from '@posthouse/testkit'
import { withMutant } from '../chaos/mutants.ts'
import {
  clearRabbit,
  clearRedis,
  noRabbit,
  noRedis,
  ownPrefix,
  queuesOf,
  skipWithout,
  tellMissed,
  type Wire,
  wireTo,
  withChannel,
} from '../cluster/servers.ts'
import { startGateway } from '../http/gateway.ts'
import { createPosthouse, type Posthouse, until } from './posthouse.ts'

const CHATS = 20
const ROUNDS = 10

type Telegram = Awaited<ReturnType<typeof createTelegramEmulator>>

interface World {
  readonly telegram: Telegram
  readonly posthouse: Posthouse
  readonly rabbit: Wire
  readonly redis: Wire
  readonly prefix: string
  /** Everybody asks once more. */
  ask(): void
  /** Questions without an answer. */
  open(): readonly string[]
  readonly questions: readonly string[]
}

async function inWorld(run: (world: World) => Promise<void>, mutants: readonly string[] = []): Promise<void> {
  const prefix = ownPrefix()
  await using rabbit = await wireTo.rabbit()
  await using redis = await wireTo.redis()
  await using telegram = await createTelegramEmulator()
  await using model = await createModelEmulator({ keys: 'any', models: 'any', pace: { firstToken: 10, interval: 5, chunks: 4 } })
  await using posthouse = createPosthouse({
    broker: { url: rabbit.url, prefix },
    redis: { url: redis.url, prefix },
    models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
    channels: { telegram: { token: telegram.token, api_root: telegram.url, send_rate: 1000, room_send_rate: 1000 } },
    assistant: { burst: 'one-by-one' },
  })
  const questions: string[] = []
  const answered = () => new Set(telegram.posted().map(({ text }) => text))
  let round = 0
  try {
    await posthouse.start(withMutant(mutants.length > 0 ? mutants.join(',') : undefined))
    await until(async () => (await degraded(posthouse)).length === 0, 'both are connected')
    await run({
      telegram,
      posthouse,
      rabbit,
      redis,
      prefix,
      questions,
      ask() {
        for (let chat = 1; chat <= CHATS; chat++) {
          const question = `question-${round}-${chat}.`
          questions.push(question)
          telegram.say({ text: question, chat: 7_100_000 + chat, from: { id: 7_100_000 + chat, first_name: 'Canary-Person' } })
        }
        round++
      },
      open: () => questions.filter((question) => !answered().has(`You said: ${question}`)),
    })
  } finally {
    for (const wire of [rabbit, redis]) wire.proxy.set({})
    await posthouse[Symbol.asyncDispose]()
    await clearRabbit(prefix)
    await clearRedis(prefix)
  }
}

async function degraded({ url }: Posthouse): Promise<readonly { server: string; problem: string }[]> {
  return ((await (await fetch(`${url}/readyz`)).json()) as { degraded: { server: string; problem: string }[] }).degraded
}

/** Messages in chats that are not exactly the answers in the order of the questions. */
function wrong({ telegram }: World): unknown[] {
  return Array.from({ length: CHATS }, (_, index) => index + 1).flatMap((chat) => {
    const found = telegram.posted(7_100_000 + chat).map(({ text }) => text)
    const expected = Array.from({ length: ROUNDS }, (_, round) => `You said: question-${round}-${chat}.`)
    return JSON.stringify(found) === JSON.stringify(expected) ? [] : [{ chat, found }]
  })
}

const settled = (world: World, limit?: number) => until(() => world.open().length === 0, 'every question is answered', limit)
const missing = (world: World, limit: number) =>
  settled(world, limit).then(
    () => [],
    () => world.open(),
  )

describe('RabbitMQ and Redis', { skip: skipWithout(noRabbit, noRedis), timeout: 120_000 }, () => {
  it('connections are cut, queues emptied, keys deleted: 200 messages, each answered once and in order', () =>
    inWorld(async (world) => {
      for (let round = 0; round < ROUNDS; round++) {
        world.ask()
        await until(() => world.open().length < CHATS * 3, 'it goes on')
        if (round % 3 === 0) world.rabbit.proxy.cut()
        if (round % 3 === 1) world.redis.proxy.cut()
        if (round % 3 === 2) await withChannel((channel) => channel.purgeQueue(queuesOf(world.prefix)[0] ?? ''))
        if (round === 4) await clearRedis(world.prefix)
      }
      await settled(world, 30_000)
      assert.deepEqual(wrong(world), [])
      await until(async () => (await degraded(world.posthouse)).length === 0, 'both are connected again', 30_000)
    }))

  it('both are away: the gateway is ready and says what it does without; answers go on', () =>
    inWorld(async (world) => {
      for (const wire of [world.rabbit, world.redis]) wire.proxy.down()
      await until(async () => (await degraded(world.posthouse)).length === 2, 'it is noticed')
      assert.equal((await fetch(`${world.posthouse.url}/readyz`)).status, 200)
      world.ask()
      await settled(world)
      const status = await world.posthouse.cli('status')
      assert.match(status.stdout, /Broker: cannot be reached[\s\S]*Redis: cannot be reached/)
      const doctor = await world.posthouse.cli('doctor', '--json')
      const { findings } = JSON.parse(doctor.stdout) as { findings: { group: string; name: string; state: string; cause: string }[] }
      assert.deepEqual(
        findings.filter(({ group }) => group === 'outside').map(({ name, state }) => [name, state]),
        [
          ['broker', 'warn'],
          ['redis', 'warn'],
        ],
      )
    }))

  it('tickets alone carry the work: nothing waits for the sweep', () =>
    inWorld(
      async (world) => {
        for (let round = 0; round < 3; round++) {
          world.ask()
          assert.deepEqual(await missing(world, 15_000), [])
        }
      },
      ['without the sweep'],
    ))

  it('Redis was away: open pages are told to come back, and find in the store what they missed', async () => {
    const prefix = ownPrefix()
    await using redis = await wireTo.redis()
    await using gateway = await startGateway({ config: { redis: { url: redis.url, prefix } } })
    try {
      await until(async () => (await degraded(gateway.posthouse)).length === 0, 'Redis is connected')
      const conversation_id = randomUUID()
      const subscribe = { type: 'subscribe', conversation_id, after: 0 }
      using socket = await gateway.socket(gateway.admin)
      socket.send(subscribe)
      await socket.wait('synced')
      redis.proxy.down()
      socket.send({ type: 'send', id: randomUUID(), conversation_id, text: 'while it is away' })
      await socket.wait('message', ({ message }) => message.role === 'assistant')
      assert.equal(socket.closed, undefined)
      const metrics = await gateway.call('/metrics', { token: gateway.admin.token })
      assert.match(metrics.text, /^posthouse_outside_up\{server="redis"\} 0$/m)
      assert.doesNotMatch(metrics.text, /server="broker"/)
      redis.proxy.set({})
      assert.equal((await socket.waitClosed()).code, 1012)
      using back = await gateway.socket(gateway.admin)
      back.send(subscribe)
      await back.wait('synced')
      assert.equal(back.frames.filter(({ type }) => type === 'message').length, 2)
      // Another node says that a frame was too large: for the conversation, and for the person.
      await tellMissed(prefix, `conversation:${conversation_id}`)
      assert.equal((await back.waitClosed()).code, 1012)
      using bare = await gateway.socket(gateway.admin)
      await bare.wait('welcome')
      await tellMissed(prefix, `user:${gateway.admin.id}`)
      assert.equal((await bare.waitClosed()).code, 1012)
    } finally {
      await gateway[Symbol.asyncDispose]()
      await clearRedis(prefix)
    }
  })

  it('turns red for the mutant "ticket before commit"', () =>
    inWorld(
      async (world) => {
        world.ask()
        await settled(world)
        world.ask()
        assert.ok((await missing(world, 4000)).length > 0, 'the journey does not notice')
      },
      ['without the sweep', 'ticket before commit'],
    ))

  it('the sweep finds what got lost on its way', async () => {
    const lost = async (mutants: readonly string[]) => {
      let left: readonly string[] = []
      await inWorld(async (world) => {
        // Nobody knows yet that they are gone.
        world.rabbit.proxy.set({ mute: true })
        world.ask()
        await until(() => world.telegram.pending === 0, 'all are admitted')
        left = await missing(world, mutants.length > 0 ? 3000 : 15_000)
      }, mutants)
      return left
    }
    assert.deepEqual(await lost([]), [])
    assert.ok((await lost(['without the sweep'])).length > 0, 'without it nothing is found')
  })
})

describe('What RabbitMQ and Redis see', { skip: skipWithout(noRabbit, noRedis), timeout: 120_000 }, () => {
  /** Ours, in whatever went over their wires. */
  const seen = async (mutants: readonly string[] = []) => {
    let found: string[] = []
    await inWorld(async (world) => {
      world.ask()
      await settled(world)
      const wires = { rabbit: world.rabbit.read().toString('latin1'), redis: world.redis.read().toString('latin1') }
      assert.ok(wires.rabbit.includes('"lane"') && wires.redis.includes('frame ') && wires.redis.includes(':rates:'))
      const canaries = ['question-', 'You said', 'Canary-Person', '7100001', '7100020', '"telegram"', 'test-model', 'api_root']
      found = Object.entries(wires).flatMap(([name, said]) =>
        canaries.filter((canary) => said.includes(canary)).map((canary) => `${name}: ${canary}`),
      )
    }, mutants)
    return found
  }

  it('no word, no name, no address of a person', async () => assert.deepEqual(await seen(), []))

  it('no ticket holds more than the queue may know, whoever gives it', async () =>
    assert.deepEqual(await seen(['content in the ticket']), []))

  for (const [mutants, expected] of [
    [['content in the ticket', 'tickets as they come'], 'rabbit: question-'],
    [['frames in plain'], 'redis: question-'],
    [['rooms in plain'], 'redis: 7100020'],
  ] as const)
    it(`turns red for the mutant "${mutants[0]}"`, async () => assert.ok((await seen(mutants)).includes(expected)))
})

it('a gateway without them loads nothing of them', async () => {
  await using posthouse = createPosthouse({})
  const ledger = join(posthouse.folder, 'loaded')
  await posthouse.start({
    NODE_OPTIONS: `--import ${pathToFileURL(join(import.meta.dirname, '../cli/loaded.ts')).href}`,
    POSTHOUSE_LOADED: ledger,
  })
  await fetch(`${posthouse.url}/healthz`)
  await posthouse.stop()
  const loaded = JSON.parse(readFileSync(ledger, 'utf8')) as string[]
  assert.ok(loaded.some((url) => url.endsWith('/broker/rabbitmq.ts')))
  assert.deepEqual(
    loaded.filter((url) => /node_modules\/(amqplib|ioredis|@ioredis)\//.test(url)),
    [],
  )
})
