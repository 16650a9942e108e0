/** Two gateways behind each of the balancers that deploy/ has configurations for: begun anew one after the other, and killed, under load. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'
import { createModelEmulator, createTelegramEmulator, type ModelEmulator, type TelegramEmulator } from '@posthouse/testkit'
import { FormData } from 'undici'
import { createNodes, type OneOfSeveral } from '../cluster/nodes.ts'
import { clearRedis, noRedis, ownPrefix, skipWithout } from '../cluster/servers.ts'
import { newPlace, noPostgres } from '../contracts/postgres.ts'
import { until } from '../journeys/posthouse.ts'
import { freePorts } from '../ports.ts'
import { type Balancer, type BalancerName, makeCertificate, noBalancers, startBalancer } from './balancers.ts'
import { askOnce, callAgainAndAgain, openPage } from './people.ts'

const PAGES = 4
const CALLERS = 6
const CHATS = 5

interface Scene {
  readonly one: OneOfSeveral
  readonly two: OneOfSeveral
  readonly balancer: Balancer
  readonly ca: string
  readonly telegram: TelegramEmulator
  readonly model: ModelEmulator
  readonly token: string
}

async function inScene(name: BalancerName, play: (scene: Scene) => Promise<void>): Promise<void> {
  const prefix = ownPrefix()
  const certificate = makeCertificate()
  const ca = certificate.certificate
  const [plain = 0, secure = 0] = await freePorts(2)
  await using model = await createModelEmulator({ keys: 'any', models: 'any', pace: { firstToken: 20, interval: 20, chunks: 5 } })
  await using telegram = await createTelegramEmulator({ retryDelay: 200, maxRetryDelay: 1000, ca })
  const url = await newPlace()
  await using nodes = await createNodes(['one', 'two'], () => ({
    server: { public_url: `https://localhost:${secure}`, trusted_proxies: ['127.0.0.1'], drain_delay: '3s' },
    database: { url },
    redis: { url: process.env.POSTHOUSE_TEST_REDIS ?? 'redis://127.0.0.1:6379', prefix },
    resources: { requests_per_minute: 100_000 },
    assistant: { burst: 'one-by-one' },
    models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
    channels: {
      telegram: {
        token: telegram.token,
        api_root: telegram.url,
        mode: 'webhook',
        secret_token: 'balanced',
        send_rate: 1000,
        room_send_rate: 1000,
      },
    },
  }))
  const [one, two] = nodes
  assert.ok(one && two)
  const ports = [plain, secure] as const
  await using balancer = await startBalancer({
    name,
    certificate,
    nodes: [`127.0.0.1:${one.port}`, `127.0.0.1:${two.port}`],
    ports,
  })
  try {
    await one.start()
    await two.start()
    const { stdout } = await one.cli('token', 'create', '--name', 'test', '--scopes', 'chat,admin', '--json')
    const { token } = JSON.parse(stdout) as { token: string }
    await until(() => telegram.webhook !== undefined, 'the webhook is set')
    await until(async () => await answers(balancer, ca), 'the balancer found the nodes')
    await play({ one, two, balancer, ca, telegram, model, token })
  } finally {
    await clearRedis(prefix)
  }
}

const answers = async ({ url }: Balancer, ca: string) => (await askOnce(`${url}/readyz`, ca)).status === 200

/** Load of every kind while `happens`; then everything has its one answer. Answers what the callers of the API were refused. */
async function underLoad(
  scene: Scene,
  happens: () => Promise<void>,
): Promise<{ readonly failures: readonly string[]; readonly answered: number }> {
  const { balancer, token, ca, telegram } = scene
  const pages = Array.from({ length: PAGES }, () => openPage(balancer.url, token, ca))
  const asked: Promise<string>[] = []
  const said: string[] = []
  let ended = false
  const talk = async () => {
    for (let count = 0; !ended; count++) {
      const chat = 8_100_000 + (count % CHATS)
      said.push(`said ${count}.`)
      telegram.say({ text: `said ${count}.`, chat, from: chat })
      const page = pages[count % PAGES]
      if (page && count % 3 === 0) asked.push(page.ask(`asked ${count}.`))
      await new Promise((resolve) => setTimeout(resolve, 60))
    }
  }
  const caller = callAgainAndAgain(balancer.url, token, ca, CALLERS)
  const talking = talk()
  await until(() => caller.answered > 20, 'it begins')
  await happens()
  const before = caller.answered
  await until(() => caller.answered > before + 20, 'it goes on')
  ended = true
  await talking
  await caller[Symbol.asyncDispose]()
  await Promise.all(asked)
  const posted = () => telegram.posted().map(({ text }) => text)
  await until(() => said.every((text) => posted().includes(`You said: ${text}`)), 'every message is answered', 30_000)
  // On pages nothing may come twice; on Telegram only what a killed node left unknown, and that is marked.
  for (const page of pages) {
    const texts = [...page.answers.values()]
    assert.equal(new Set(texts).size, texts.length, 'an answer came twice on a page')
    page.close()
  }
  assert.equal(
    pages.reduce((sum, { answers: seen }) => sum + seen.size, 0),
    asked.length,
  )
  const { maybeDuplicates } = JSON.parse((await scene.two.cli('status', '--json')).stdout) as { maybeDuplicates: number }
  const doubled = posted().length - new Set(posted()).size
  assert.ok(doubled <= maybeDuplicates, `${doubled} doubled, ${maybeDuplicates} marked`)
  return { failures: caller.failures.map(({ what }) => what), answered: caller.answered }
}

describe('balancers', { skip: skipWithout(noBalancers, noPostgres, noRedis), timeout: 300_000 }, () => {
  it('are there', () => assert.equal(noBalancers, undefined))

  for (const name of ['haproxy/active-active', 'nginx'] as const) {
    it(`${name}: an answer comes as it grows, a file of 50 MB passes, plain HTTP is sent to TLS`, () =>
      inScene(name, async ({ balancer, token, ca, model }) => {
        await using caller = callAgainAndAgain(balancer.url, token, ca, 0)
        const { status, body } = await caller.ask('/api/v1/chat/stream', { query: 'as it grows' })
        assert.equal(status, 200)
        let text = ''
        let early = false
        for await (const chunk of body) {
          text += chunk.toString()
          if (/event: delta/.test(text) && model.calls.at(-1)?.ended === undefined) early = true
        }
        assert.match(text, /event: end/)
        assert.ok(early, 'the first words came before the model had ended')
        const form = new FormData()
        form.append('file', new Blob([randomBytes(50 * 1000 * 1000)]), 'large.bin')
        const upload = await askOnce(`${balancer.url}/api/v1/files`, ca, {
          method: 'POST',
          body: form,
          headers: { authorization: `Bearer ${token}` },
        })
        assert.equal(upload.status, 200, upload.text)
        const moved = await fetch(`${balancer.plainUrl}/readyz`, { redirect: 'manual' })
        assert.equal(moved.status, 308)
        assert.match(moved.headers.get('location') ?? '', /^https:/)
      }))

    it(`${name}: both nodes are begun anew under load, and nobody is turned away`, () =>
      inScene(name, async (scene) => {
        const { one, two, balancer } = scene
        const { failures } = await underLoad(scene, async () => {
          for (const node of [one, two]) {
            assert.equal(await node.stop(), 0)
            await node.start()
            // No line of ours stays open: those that are there afterwards are the balancer's.
            await until(async () => (await askOnce(`${node.url}/readyz`, scene.ca)).status === 200, 'ready')
            await until(async () => (await balancer.ready()) === 2, 'the balancer takes it for ready')
          }
        })
        assert.deepEqual(failures, [])
      }))

    it(`${name}: a node is killed under load; who was in its hands is the only one who notices`, () =>
      inScene(name, async (scene) => {
        const { one } = scene
        const { failures, answered } = await underLoad(scene, async () => {
          await one.kill()
          await new Promise((resolve) => setTimeout(resolve, 6000))
          await one.start()
        })
        // Whoever waited for an answer from that node; and one more each, who met it before the balancer knew.
        assert.ok(failures.length <= CALLERS * 2, `${failures.length} of ${answered}: ${failures.join(' | ')}`)
      }))
  }

  it('haproxy/primary-standby: people come to the first one while it is there', () =>
    inScene('haproxy/primary-standby', async ({ balancer, one, ca }) => {
      const servedBy = () => /posthouse\/(\w+) [^\n]*$/.exec(balancer.said.trimEnd())?.[1]
      const asks = async () => {
        assert.ok(await answers(balancer, ca))
        return servedBy()
      }
      await until(async () => (await asks()) === 'node1', 'the first one serves')
      for (let count = 0; count < 10; count++) assert.equal(await asks(), 'node1')
      await one.kill()
      await until(async () => (await answers(balancer, ca)) && servedBy() === 'node2', 'the standby takes over')
      await one.start()
      await until(async () => (await asks()) === 'node1', 'the first one serves again')
    }))
})
