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
  readonly channels: readonly { readonly id: string; readonly node: string; readonly state: string }[]
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

interface Options {
  /** Of both nodes, and of the second alone. */
  readonly mutants?: readonly string[]
  readonly ofB?: readonly string[]
  /** More of the configuration of both, and of the second alone. */
  readonly config?: object
  readonly configOfB?: object
  /** Milliseconds until the model's first word. */
  readonly firstToken?: number
}

/** Both nodes with hurried figures: what takes half a minute takes a second and a half. */
async function inWorld(
  run: (world: World) => Promise<void>,
  { mutants = [], ofB = [], config: more = {}, configOfB = {}, firstToken = 20 }: Options = {},
): Promise<void> {
  await using telegram = await createTelegramEmulator()
  await using model = await createModelEmulator({ keys: 'any', models: 'any', pace: { firstToken, interval: 10, chunks: 6 } })
  const url = await newPlace()
  const config = (name: string) => ({
    node: { name },
    database: { url },
    models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
    channels: { telegram: { token: telegram.token, api_root: telegram.url, send_rate: 1000, room_send_rate: 1000 } },
    assistant: { burst: 'one-by-one' },
    ...more,
    ...(name === 'b' ? configOfB : {}),
  })
  await using a = createPosthouse(config('a'))
  await using b = createPosthouse(config('b'))
  const start = (node: Posthouse) => node.start(withMutant(['hurried nodes', ...mutants, ...(node === b ? ofB : [])].join(',')))
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

/** The platform refuses a third of the first sends for two seconds, while two nodes share the work. */
async function refusedNowAndThen(world: World): Promise<unknown[]> {
  await world.start(world.b)
  for (let round = 0; round < 6; round++) {
    world.ask()
    world.telegram.failNext('sendMessage', {
      status: 429,
      description: 'Too Many Requests: retry after 2',
      retryAfter: 2,
      times: CHATS / 3,
    })
    await until(() => world.open().length < CHATS * 3, 'it goes on')
  }
  await settled(world, 60_000)
  return await wrong(world)
}
/** Few places and slow turns: what one node does not begin at once, the other finds, long before what is refused may be sent again. */
const shared = { config: { resources: { max_concurrency: 2 } }, firstToken: 200 }

/** Whether the lease stays where it is while nothing happens. */
async function staysWithA(world: World): Promise<boolean> {
  await world.start(world.b)
  const epoch = async () => (await world.status()).leases.find(({ name, node }) => name === 'telegram' && node === 'a')?.epoch
  world.ask()
  await settled(world)
  // Each look takes a while: together longer than a node is waited for.
  for (let looks = 0; looks < 4; looks++) if ((await epoch()) !== 1) return false
  return true
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
      await until(async () => {
        const { channels } = await world.status()
        return (
          JSON.stringify(channels.map(({ id, node, state }) => [id, node, state])) ===
          JSON.stringify([
            ['telegram', 'a', 'connected'],
            ['telegram', 'b', 'standby'],
          ])
        )
      }, 'either is known to say how it finds the account')
      const doctor = await b.cli('doctor')
      assert.match(doctor.stdout, /2 gateways use it, and redis\.url is not set/)
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

  it('P4: the platform refuses now and then, both nodes share the work: every conversation stays in order', () =>
    inWorld(async (world) => assert.deepEqual(await refusedNowAndThen(world), []), shared))

  it('turns red for the mutant "every node sends"', () =>
    inWorld(async (world) => assert.notDeepEqual(await refusedNowAndThen(world), []), { ...shared, mutants: ['every node sends'] }))

  it('one does not know the account yet: it leaves the messages to the other', () =>
    inWorld(async (world) => assert.deepEqual(await refusedNowAndThen(world), []), { ...shared, configOfB: { channels: {} } }))

  it('the clock of one is ten minutes ahead: the lease stays where it is', () =>
    inWorld(async (world) => assert.equal(await staysWithA(world), true), { ofB: ['clock ahead'] }))

  it('turns red for the mutant "lease by the local clock"', () =>
    inWorld(async (world) => assert.equal(await staysWithA(world), false), { ofB: ['clock ahead', 'lease by the local clock'] }))

  it('the web chat may be served by either: both take questions of one conversation, and show all of it', () =>
    inWorld(async ({ a, b, start }) => {
      await start(b)
      const post = async (url: string, path: string, body: object, token?: string) => {
        const headers = { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) }
        const response = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) })
        assert.equal(response.status, 200)
        return (await response.json()) as { answer: string; conversation_id: string }
      }
      // Whoever began last has the link that counts.
      await post(b.url, '/api/setup', { token: b.setupToken, name: 'Ann', password: 'correct horse battery' })
      const { token } = JSON.parse((await a.cli('token', 'create', '--json')).stdout) as { token: string }
      const { conversation_id } = await post(a.url, '/api/v1/chat', { query: 'question 0' }, token)
      const ask = async (number: number) =>
        (await post((number % 2 === 0 ? a : b).url, '/api/v1/chat', { query: `question ${number}`, conversation_id }, token)).answer
      const answers = []
      for (let number = 1; number <= 6; number++) answers.push(await ask(number))
      answers.push(...(await Promise.all([7, 8, 9, 10].map(ask))))
      assert.deepEqual(
        answers,
        Array.from({ length: 10 }, (_, index) => `You said: question ${index + 1}`),
      )
      const history = async ({ url }: Posthouse) =>
        await (
          await fetch(`${url}/api/v1/history?conversation_id=${conversation_id}`, { headers: { authorization: `Bearer ${token}` } })
        ).text()
      assert.equal(await history(a), await history(b))
    }))
})
