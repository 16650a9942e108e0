/**
 * Two nodes on one PostgreSQL and one Redis: who reads an answer hops between them in mid-answer, and gets every character once; who says stop says
 * it on the other node. The model's own ledger is the judge. Where it hops is drawn; POSTHOUSE_SEED plays it again.
 */
import assert from 'node:assert/strict'
import { randomInt, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { copyFileSync, existsSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { ServerFrame } from '@posthouse/contract/http'
import { createFaultProxy, createModelEmulator, createTelegramEmulator, type FaultProxy, type ModelEmulator } from '@posthouse/testkit'
import { systemClock } from '../../src/base/clock.ts'
import { newId } from '../../src/base/ids.ts'
import { createSealer, createTokens, hashPassword, loadKey } from '../../src/security/index.ts'
import { openStore } from '../../src/storage/index.ts'
import { withMutant } from '../chaos/mutants.ts'
import { noRedis, type OwnRedis, ownPrefix, skipWithout, startRedis } from '../cluster/servers.ts'
import { newPlace, noPostgres } from '../contracts/postgres.ts'
import { call, events, type LiveSocket, newReader, openSocket, password, read } from '../http/gateway.ts'
import { noBrowser, openBrowser } from './browser.ts'
import { createPosthouse, type Posthouse, until } from './posthouse.ts'

interface World {
  readonly nodes: readonly [Posthouse, Posthouse]
  readonly model: ModelEmulator
  readonly telegram: Awaited<ReturnType<typeof createTelegramEmulator>>
  readonly redis: OwnRedis
  readonly proxy: FaultProxy
  readonly token: string
  open(node: number): Promise<LiveSocket>
  /** A page there that shows a conversation from its beginning. */
  follow(node: number, conversation: string): Promise<LiveSocket>
}

interface Wishes {
  readonly pace?: NonNullable<Parameters<typeof createModelEmulator>[0]>['pace']
  readonly redis?: false
  /** A node that is gone is missed after a second or two: for where one is killed. Elsewhere a busy machine would have it missed that is not gone. */
  readonly hurried?: true
  readonly mutants?: readonly string[]
}

async function inWorld(run: (world: World) => Promise<void>, wishes: Wishes = {}): Promise<void> {
  await using redis = await startRedis()
  await using proxy = await createFaultProxy(redis.url.replace('redis:', 'tcp:'))
  await using telegram = await createTelegramEmulator()
  await using model = await createModelEmulator({ keys: 'any', models: 'any', pace: wishes.pace ?? { interval: 15, chunkSize: 4 } })
  const url = await newPlace()
  const shared = {
    database: { url },
    ...(wishes.redis === false ? {} : { redis: { url: proxy.url.replace('http:', 'redis:'), prefix: ownPrefix() } }),
    models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
    channels: {
      telegram: {
        token: telegram.token,
        api_root: telegram.url,
        mode: 'webhook',
        secret_token: 'a-secret-that-is-long-enough',
        send_rate: 1000,
        room_send_rate: 1000,
      },
    },
  }
  const config = (name: string) => ({ ...shared, node: { name }, server: { trusted_proxies: ['127.0.0.1'] } })
  await using a = createPosthouse(config('a'))
  await using b = createPosthouse(config('b'))
  const env = withMutant([...(wishes.hurried ? ['hurried nodes'] : []), ...(wishes.mutants ?? [])].join(',') || undefined)
  await a.start(env)
  copyFileSync(join(a.folder, 'posthouse.key'), join(b.folder, 'posthouse.key'))
  await b.start(env)
  const key = loadKey(join(a.folder, 'posthouse.key'), true)
  await using store = await openStore({ url, sealer: createSealer(key), clock: systemClock, newId })
  const userId = newId()
  await store.users.add({ id: userId, name: 'Ann', role: 'admin', passwordHash: await hashPassword(password) })
  const tokens = createTokens({ users: store.users, key, clock: systemClock, newId })
  const { token } = await tokens.create({ name: 'test', userId, scopes: ['chat', 'admin'], lifetime: 3_600_000 })
  const nodes = [a, b] as const
  const open = (node: number) => openSocket(nodes[node]?.url ?? '', { authorization: `Bearer ${token}` })
  const world: World = {
    nodes,
    model,
    telegram,
    redis,
    proxy,
    token,
    open,
    async follow(node, conversation_id) {
      const socket = await open(node)
      socket.send({ type: 'subscribe', conversation_id, after: 0 })
      await socket.wait('synced')
      return socket
    },
  }
  if (wishes.redis !== false) await connected(world)
  await run(world)
}

const connected = ({ nodes }: World) =>
  until(
    async () => {
      const ready = await Promise.all(nodes.map(({ url }) => call(`${url}/readyz`).catch(() => undefined)))
      return ready.every((answer) => answer?.body?.degraded?.length === 0)
    },
    'both nodes are connected to Redis',
    20_000,
  )

const words = (name: string, count: number) => Array.from({ length: count }, (_, index) => `${name}${index}驿😀`).join(' ')

/** What a page shows by the rules of the frames; `torn`: a piece that did not fit. */
function createPage(conversation: string) {
  const page = { messages: new Map<string, string>(), resume: 0, turn: undefined as { id: string; draft: string } | undefined, torn: false }
  const take = (frame: ServerFrame) => {
    if (frame.type === 'message' && frame.message.conversation_id === conversation) {
      page.messages.set(frame.message.id, `${frame.message.role}: ${frame.message.text}`)
      page.resume = Math.max(page.resume, frame.message.seq)
    } else if ((frame.type === 'synced' || frame.type === 'turn') && frame.conversation_id === conversation) {
      const { turn } = frame
      page.turn = turn?.state === 'running' ? { id: turn.id, draft: turn.draft ?? '' } : undefined
    } else if (frame.type === 'delta' && frame.conversation_id === conversation) {
      const { turn } = page
      if (!turn || turn.id !== frame.turn_id || frame.offset > turn.draft.length) page.torn = true
      else turn.draft += frame.text.slice(turn.draft.length - frame.offset)
    }
  }
  return { page, take }
}

/** Asks on one node and reads on both in turns, a random part of the answer on each; answers what the page showed, and how often it was shown a draft late. */
async function hop(world: World, random: () => number, conversation_id: string, text: string) {
  const { page, take } = createPage(conversation_id)
  const drafts: string[] = []
  let node = random() < 0.5 ? 0 : 1
  let asked = false
  let hops = 0
  let joined = 0
  const isOver = () => [...page.messages.values()].some((message) => message.startsWith('assistant: '))
  while (!isOver()) {
    if (hops++ > 60) throw new Error('it does not end')
    using socket = await world.open(node)
    const most = Math.floor(random() * 400)
    let grown = 0
    let taken = 0
    socket.send({ type: 'subscribe', conversation_id, after: page.resume })
    if (!asked) {
      await socket.wait('synced')
      socket.send({ type: 'send', id: randomUUID(), conversation_id, text })
    }
    asked = true
    await until(() => {
      for (; taken < socket.frames.length && grown <= most; taken++) {
        const frame = socket.frames[taken] as ServerFrame
        take(frame)
        if (frame.type === 'turn' && frame.turn.draft) joined++
        if (frame.type === 'delta') grown += frame.text.length
        if (page.turn) drafts.push(page.turn.draft)
      }
      return grown > most || isOver() || socket.closed !== undefined
    }, 'the answer goes on')
    node = 1 - node
  }
  return { page, drafts, hops, joined }
}

/** Asks the API, hangs up after some characters, and goes on at the other node; answers how often. */
async function streamOverBoth({ nodes, token }: World, query: string, most: () => number, first = 0): Promise<number> {
  const reader = newReader()
  let hops = 0
  for (let node = first; !reader.end; node = 1 - node) {
    if (hops++ > 60) throw new Error('it does not end')
    const limit = reader.text.length + most()
    const headers = reader.lastId ? { 'last-event-id': reader.lastId } : {}
    for await (const event of events(`${nodes[node]?.url}/api/v1/chat/stream`, { token, json: { query }, headers })) {
      read(reader, event)
      if (reader.text.length > limit) break
    }
  }
  assert.deepEqual([reader.text, reader.restarts], [`You said: ${query}`, 0])
  assert.equal(reader.end.answer, reader.text)
  return hops
}

/** Brings who connects to one node; `move` cuts what is open and goes on with the next node. */
async function createBalancer(ports: readonly number[]) {
  const open = new Set<Socket>()
  let node = 0
  const server = createServer((client) => {
    const behind = connect(ports[node] ?? 0, '127.0.0.1')
    for (const [from, to] of [
      [client, behind],
      [behind, client],
    ] as const) {
      open.add(from)
      from.on('error', () => {})
      from.on('close', () => {
        open.delete(from)
        to.destroy()
      })
      from.pipe(to)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => {
    for (const socket of open) socket.destroy()
  }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    move() {
      node = (node + 1) % ports.length
      cut()
    },
    async [Symbol.asyncDispose]() {
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}

function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

const skip = noPostgres ?? skipWithout(noRedis)
const built = join(import.meta.dirname, '../../../web/dist/index.html')
const browserless = skipWithout(noBrowser, existsSync(built) ? undefined : 'the web chat is not built: `npm test` builds it')

describe('an answer follows its reader from node to node', { skip, timeout: 180_000 }, () => {
  const seed = Number(process.env.POSTHOUSE_SEED ?? randomInt(1_000_000))

  const hopAll = async (world: World) => {
    const random = randomFrom(seed)
    const readers = Array.from({ length: 8 }, async (_, index) => {
      const text = words(`page${index}-`, 60)
      const { page, drafts, hops, joined } = await hop(world, random, randomUUID(), text)
      assert.deepEqual([...page.messages.values()], [`user: ${text}`, `assistant: You said: ${text}`])
      assert.equal(page.torn, false)
      for (const draft of drafts) assert.ok(`You said: ${text}`.startsWith(draft), `garbled: ${draft}`)
      return { hops, joined }
    })
    const all = await Promise.all(readers)
    assert.ok(
      all.some(({ hops }) => hops > 2),
      'nobody hopped',
    )
    assert.ok(
      all.some(({ joined }) => joined > 0),
      'nobody was shown what was there',
    )
    assert.equal(world.model.calls.length, 8)
  }
  it(`an open page, at random places (seed ${seed})`, () => inWorld(hopAll))
  it('turns red for the mutant "joined without asking"', () => assert.rejects(inWorld(hopAll, { mutants: ['joined without asking'] })))

  it(`a stream of the API, at random places (seed ${seed})`, () =>
    inWorld(async (world) => {
      const random = randomFrom(seed)
      const readers = Array.from({ length: 8 }, (_, index) =>
        streamOverBoth(world, words(`stream${index}-`, 60), () => Math.floor(random() * 400), index % 2),
      )
      const hops = await Promise.all(readers)
      assert.ok(
        hops.some((count) => count > 2),
        'nobody hopped',
      )
      assert.equal(world.model.calls.length, 8)
    }))

  it('a real browser behind a load balancer that moves it in mid-answer', { skip: browserless }, () =>
    inWorld(
      async ({ nodes, model }) => {
        await using balancer = await createBalancer(nodes.map(({ url }) => Number(new URL(url).port)))
        await using browser = await openBrowser()
        const { page } = browser
        page.setDefaultTimeout(15_000)
        await page.goto(balancer.url)
        await page.getByRole('textbox', { name: 'Name' }).fill('Ann')
        await page.getByLabel('Password', { exact: true }).fill(password)
        await page.getByRole('button', { name: 'Sign in' }).click()
        const text = words('browser', 60)
        await page.getByRole('textbox', { name: 'Message', exact: true }).fill(text)
        await page.getByRole('button', { name: 'Send', exact: true }).click()
        const answers = page.locator('article[aria-label="Answer"]')
        const said = async () => ((await answers.locator('p').first().textContent()) ?? '').trim()
        const shown: string[] = []
        for (const mark of [5, 20, 35, 50]) {
          await answers.and(page.locator('[aria-busy="true"]')).getByText(`browser${mark}驿`).waitFor()
          shown.push(await said())
          balancer.move()
        }
        await answers.and(page.locator('[aria-busy="false"]')).filter({ hasText: `browser59驿` }).waitFor()
        assert.equal(await answers.count(), 1)
        for (const part of [...shown, await said()]) {
          assert.ok(`You said: ${text}`.startsWith(part) && part !== '', `garbled: ${part}`)
        }
        assert.equal(model.calls.length, 1)
        assert.deepEqual(browser.complaints, [])
      },
      { pace: { interval: 30, chunkSize: 4 } },
    ),
  )

  it('Redis is late, emptied, cut off, killed in the midst: every answer is whole, none is garbled', () =>
    inWorld(async (world) => {
      const faults = [
        () => world.proxy.set({ latency: 500 }),
        () => void world.redis.client.flushall(),
        () => world.proxy.cut(),
        () => void world.redis.stop(),
      ]
      for (const [index, fault] of faults.entries()) {
        const text = words(`fault${index}-`, 80)
        const conversation_id = randomUUID()
        using there = await world.follow(1, conversation_id)
        const { page, take } = createPage(conversation_id)
        const drafts: string[] = []
        using here = await world.open(0)
        here.send({ type: 'send', id: randomUUID(), conversation_id, text })
        await world.model.waitForCall(({ question, chunks }) => question?.text === text && chunks > 5)
        fault()
        let socket = there
        let taken = 0
        const opened = [there]
        await until(
          async () => {
            for (; taken < socket.frames.length; taken++) {
              take(socket.frames[taken] as ServerFrame)
              if (page.turn) drafts.push(page.turn.draft)
            }
            if (page.torn || socket.closed !== undefined) {
              // As a page does: it comes back, and goes on from the last message that it has.
              page.torn = false
              socket = await world.open(1)
              opened.push(socket)
              taken = 0
              socket.send({ type: 'subscribe', conversation_id, after: page.resume })
            }
            return page.messages.size === 2
          },
          `the answer is whole after fault ${index}`,
          20_000,
        )
        for (const one of opened) one.raw.terminate()
        assert.deepEqual([...page.messages.values()], [`user: ${text}`, `assistant: You said: ${text}`])
        for (const draft of drafts) assert.ok(`You said: ${text}`.startsWith(draft), `garbled: ${draft}`)
        world.proxy.set({})
      }
    }))

  it('without Redis: the page on the other node has the whole answer, and a caller of the API, too', () =>
    inWorld(
      async (world) => {
        const conversation_id = randomUUID()
        using there = await world.follow(1, conversation_id)
        using here = await world.open(0)
        const text = words('alone', 20)
        here.send({ type: 'send', id: randomUUID(), conversation_id, text })
        const { message } = await there.wait('message', (frame) => frame.message.role === 'assistant')
        assert.equal(message.text, `You said: ${text}`)
        assert.equal(there.frames.filter((frame) => frame.type === 'message' && frame.message.role === 'assistant').length, 1)
        await streamOverBoth(world, words('caller', 30), () => 100)
      },
      { redis: false },
    ))

  it('the node at work is killed in mid-answer: the page sees the answer begun anew, and whole', () =>
    inWorld(
      async (world) => {
        const conversation_id = randomUUID()
        using there = await world.follow(1, conversation_id)
        const text = words('killed', 60)
        using here = await world.open(0)
        here.send({ type: 'send', id: randomUUID(), conversation_id, text })
        const { turn_id } = await there.wait('delta', ({ offset }) => offset > 20)
        await world.nodes[0].kill()
        const { turn } = await there.wait('turn', (frame) => frame.turn.state === 'running' && frame.turn.id !== turn_id)
        assert.equal(turn.draft, '')
        const { message } = await there.wait('message', (frame) => frame.message.role === 'assistant')
        assert.equal(message.text, `You said: ${text}`)
      },
      { hurried: true },
    ))
})

describe('stop reaches the other node', { skip, timeout: 120_000 }, () => {
  const slow = { interval: 20, chunks: 500 }
  /** Asks over the first node; answers how long the provider's call lasted after the stop. */
  const stopped = async (world: World, stop: (conversation: string) => Promise<void>) => {
    const conversation_id = randomUUID()
    const text = words('long', 600)
    using socket = await world.follow(0, conversation_id)
    socket.send({ type: 'send', id: randomUUID(), conversation_id, text })
    await socket.wait('delta')
    const said = Date.now()
    await stop(conversation_id)
    const { message } = await socket.wait('message', (frame) => frame.message.role === 'assistant')
    assert.equal(message.status, 'stopped')
    assert.ok(`You said: ${text}`.startsWith(message.text))
    const line = await world.model.waitForCall(({ question, ended }) => question?.text === text && ended !== undefined)
    assert.equal(line.ended?.how, 'client-closed')
    return `the provider was left ${(line.ended?.at ?? 0) - said} ms after the stop`
  }
  const byPage = (world: World) => async (conversation_id: string) => {
    using other = await world.open(1)
    other.send({ type: 'stop', conversation_id })
    other.send({ type: 'ping' })
    await other.wait('pong')
  }

  it('an open page there says it', (t) => inWorld(async (world) => t.diagnostic(await stopped(world, byPage(world))), { pace: slow }))
  it('the same without Redis', (t) =>
    inWorld(async (world) => t.diagnostic(await stopped(world, byPage(world))), { pace: slow, redis: false }))

  for (const redis of [undefined, false] as const)
    it(`as a message that comes in there${redis === false ? ', without Redis' : ''}; what waited before it is not answered`, () =>
      inWorld(
        async ({ nodes, telegram, model }) => {
          let update = 1_000
          const person = { id: 7_600_000, is_bot: false, first_name: 'Ann' }
          const hook = async (node: number, text: string) => {
            const entities = text.startsWith('/') ? { entities: [{ type: 'bot_command', offset: 0, length: text.length }] } : {}
            const chat = { id: person.id, type: 'private', first_name: 'Ann' }
            const message = { message_id: ++update, date: Math.floor(Date.now() / 1000), chat, from: person, text, ...entities }
            const { status } = await call(`${nodes[node]?.url}/api/webhook/telegram`, {
              json: { update_id: update, message },
              headers: { 'x-telegram-bot-api-secret-token': 'a-secret-that-is-long-enough' },
            })
            assert.equal(status, 200)
          }
          telegram.know(person.id)
          const text = words('long', 600)
          await hook(0, text)
          await model.waitForCall(({ question, chunks }) => question?.text === text && chunks > 3)
          await hook(1, 'waits behind')
          await hook(1, '/stop')
          const line = await model.waitForCall(({ question, ended }) => question?.text === text && ended !== undefined, 10_000)
          assert.equal(line.ended?.how, 'client-closed')
          await until(() => telegram.posted(person.id).some(({ text: said }) => /stopped/i.test(said)), 'it is told')
          assert.deepEqual(
            model.calls.map(({ question }) => question?.text.slice(0, 5)),
            ['long0'],
          )
        },
        { pace: slow, ...(redis === false ? { redis } : {}) },
      ))

  it('turns red without the word and the look', async () => {
    await assert.rejects(
      inWorld(async (world) => void (await stopped(world, byPage(world))), { pace: slow, mutants: ['stop stays here'] }),
      /'complete'|no frame|did not come about/,
    )
  })
})
