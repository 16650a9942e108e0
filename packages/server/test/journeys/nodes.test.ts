/** Several gateways on one PostgreSQL: begun, told to end, killed and frozen under load; every message gets its one answer, in order. */
import assert from 'node:assert/strict'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createModelEmulator, createTelegramEmulator, type TelegramEmulator } from '@posthouse/testkit'
import { withMutant } from '../chaos/mutants.ts'
import { newPlace, noPostgres } from '../contracts/postgres.ts'
import { createPosthouse, type Posthouse, until } from './posthouse.ts'

const CHATS = 12

interface Status {
  readonly nodes: readonly { readonly id: string; readonly name: string; readonly alive: boolean; readonly draining: boolean }[]
  readonly leases: readonly { readonly name: string; readonly node: string; readonly epoch: number }[]
  readonly maybeDuplicates: number
  readonly dead: number
}

interface World {
  readonly telegram: TelegramEmulator
  readonly a: Posthouse
  readonly b: Posthouse
  start(node: Posthouse): Promise<void>
  status(): Promise<Status>
  /** Which node receives. */
  owner(): Promise<string | undefined>
  /** Everybody asks once more. */
  ask(): void
  readonly asked: number
  open(): readonly string[]
}

/** Both nodes with hurried figures: what takes half a minute takes a second and a half. */
async function inWorld(run: (world: World) => Promise<void>, mutants: readonly string[] = []): Promise<void> {
  await using telegram = await createTelegramEmulator()
  await using model = await createModelEmulator({ keys: 'any', models: 'any', pace: { firstToken: 20, interval: 10, chunks: 6 } })
  const url = await newPlace()
  const config = (name: string) => ({
    node: { name },
    database: { url },
    models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
    channels: { telegram: { token: telegram.token, api_root: telegram.url, send_rate: 1000, room_send_rate: 1000 } },
    assistant: { burst: 'one-by-one' },
  })
  await using a = createPosthouse(config('a'))
  await using b = createPosthouse(config('b'))
  const start = (node: Posthouse) => node.start(withMutant(['hurried nodes', ...mutants].join(',')))
  const questions: string[] = []
  const status = async () => JSON.parse((await b.cli('status', '--json')).stdout) as Status
  const answered = () => new Set(telegram.posted().map(({ text }) => text))
  let round = 0
  await start(a)
  copyFileSync(join(a.folder, 'posthouse.key'), join(b.folder, 'posthouse.key'))
  await run({
    telegram,
    a,
    b,
    start,
    status,
    owner: async () => (await status()).leases.find(({ name }) => name === 'telegram')?.node,
    ask() {
      for (let chat = 1; chat <= CHATS; chat++) {
        const question = `question-${round}-${chat}.`
        questions.push(question)
        telegram.say({ text: question, chat: 7_200_000 + chat, from: 7_200_000 + chat })
      }
      round++
    },
    get asked() {
      return round
    },
    open: () => questions.filter((question) => !answered().has(`You said: ${question}`)),
  })
}

const settled = (world: World, limit = 20_000) => until(() => world.open().length === 0, 'every question is answered', limit)

/** Chats where an answer is missing, doubled without its mark, or out of order. */
async function wrong({ telegram, status, asked }: World): Promise<unknown[]> {
  const { maybeDuplicates, dead } = await status()
  let doubled = 0
  const found = Array.from({ length: CHATS }, (_, index) => index + 1).flatMap((chat) => {
    const all = telegram.posted(7_200_000 + chat).map(({ text }) => text)
    const once = [...new Set(all)]
    doubled += all.length - once.length
    const expected = Array.from({ length: asked }, (_, round) => `You said: question-${round}-${chat}.`)
    return JSON.stringify(once) === JSON.stringify(expected) ? [] : [{ chat, all }]
  })
  return [...found, ...(doubled > maybeDuplicates ? [{ doubled, maybeDuplicates }] : []), ...(dead > 0 ? [{ dead }] : [])]
}

describe('nodes on one PostgreSQL', { skip: noPostgres, timeout: 180_000 }, () => {
  it('a second one begins, the first is told to end, the second is killed: every answer once and in order', () =>
    inWorld(async (world) => {
      const { a, b, start, ask } = world
      ask()
      await start(b)
      ask()
      await settled(world)
      const both = await world.status()
      assert.deepEqual(
        both.nodes.map(({ name, alive }) => [name, alive]),
        [
          ['a', true],
          ['b', true],
        ],
      )
      assert.equal(await world.owner(), 'a')
      ask()
      const ended = a.stop()
      await until(async () => (await world.owner()) === 'b', 'the other one receives')
      ask()
      assert.equal(await ended, 0)
      await settled(world)
      assert.deepEqual(
        (await world.status()).nodes.map(({ name }) => name),
        ['b'],
      )
      await start(a)
      ask()
      await until(() => world.open().length < CHATS, 'answers come')
      await b.kill()
      await until(async () => (await world.owner()) === 'a', 'the first one receives again')
      ask()
      await settled(world)
      await start(b)
      ask()
      await settled(world)
      assert.deepEqual(await wrong(world), [])
    }))

  it('the one that receives is frozen in the midst of answers, and comes back: it writes nothing any more, and nothing is doubled', () =>
    inWorld(async (world) => {
      const { a, b, start, ask } = world
      await start(b)
      ask()
      await settled(world)
      ask()
      await until(() => world.open().length < CHATS, 'answers come')
      a.signal('SIGSTOP')
      await until(async () => (await world.owner()) === 'b', 'the other one receives')
      ask()
      await settled(world)
      const before = (await world.status()).leases
      a.signal('SIGCONT')
      await until(() => a.log.some((line) => line.includes('this node is back at work')), 'it is back')
      ask()
      await settled(world)
      assert.deepEqual(await wrong(world), [])
      assert.deepEqual(
        (await world.status()).leases.filter(({ name }) => name === 'telegram'),
        before.filter(({ name }) => name === 'telegram'),
      )
    }))
})
