/** Answers that are given again: to whom, and never to whom not. The model's own ledger is the judge. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'
import { createFaultProxy, createModelEmulator, createTelegramEmulator } from '@posthouse/testkit'
import { withMutant } from '../chaos/mutants.ts'
import { noRedis, type OwnRedis, ownPrefix, skipWithout, startRedis } from '../cluster/servers.ts'
import { type Gateway, type GatewayOptions, startGateway } from '../http/gateway.ts'
import { createPosthouse, until } from './posthouse.ts'

const CACHED = { assistant: { cache_answers: '1h' } }

type Config = Extract<GatewayOptions['config'], (model: string) => unknown>

async function withGateway(
  run: (gateway: Gateway & { ask(query: string, user?: string, conversation?: string): ReturnType<Gateway['call']> }) => Promise<void>,
  options: { readonly config?: Config; readonly env?: NodeJS.ProcessEnv; readonly model?: GatewayOptions['model'] } = {},
): Promise<void> {
  await using gateway = await startGateway({
    ...options,
    config: (model) => ({ ...CACHED, ...options.config?.(model) }),
  })
  await run({
    ...gateway,
    ask: (query, user = randomUUID(), conversation = randomUUID()) =>
      gateway.call('/api/v1/chat', { token: gateway.admin.token, json: { query, user, conversation_id: conversation } }),
  })
}

const figure = async (gateway: Gateway, name: string) => {
  const { text } = await gateway.call('/metrics', { token: gateway.admin.token })
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.slice(name.length) ?? 0,
  )
}

describe('answers that are given again', { timeout: 60_000 }, () => {
  it('a hundred people ask the same at once: the model is asked once, and each has one answer', async () => {
    await using telegram = await createTelegramEmulator()
    await using model = await createModelEmulator({ keys: 'any', models: 'any', pace: { firstToken: 1500 } })
    await using posthouse = createPosthouse({
      ...CACHED,
      models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
      channels: { telegram: { token: telegram.token, api_root: telegram.url, send_rate: 1000, room_send_rate: 1000 } },
    })
    await posthouse.start()
    const people = Array.from({ length: 100 }, (_, index) => 7_200_000 + index)
    const spellings = ['When do you open?', 'when do  you open?', ' WHEN DO YOU OPEN?\n', 'When do you open？']
    for (const [index, person] of people.entries()) telegram.say({ text: spellings[index % 4] ?? '', from: person })
    const said = (person: number) => telegram.posted(person).map(({ text }) => text)
    await until(() => people.every((person) => said(person).length > 0), 'everybody is answered')
    telegram.say({ text: 'When do you open?', from: 7_300_000 })
    await until(() => said(7_300_000).length > 0, 'so is who asks later')
    assert.equal(model.calls.length, 1)
    for (const person of people) assert.match(said(person).join('|'), /^You said: +when do +you open[?？]$/i)
    assert.equal(telegram.posted().length, 101)
  })

  it('says so: no tokens are counted, the figures tell, and an open page gets one frame', () =>
    withGateway(async (gateway) => {
      const first = await gateway.ask('What does it cost?')
      assert.equal(first.body.usage.fromCache, undefined)
      const again = await gateway.ask('what does it cost?')
      assert.equal(again.body.answer, first.body.answer)
      assert.deepEqual(again.body.usage, { inputTokens: 0, outputTokens: 0, fromCache: true })
      assert.equal(again.body.model, first.body.model)
      assert.notEqual(again.body.message_id, first.body.message_id)
      using socket = await gateway.socket(gateway.admin)
      const conversation_id = randomUUID()
      socket.send({ type: 'subscribe', conversation_id, after: 0 })
      await socket.wait('synced')
      socket.send({ type: 'send', id: randomUUID(), conversation_id, text: 'What does it cost?' })
      const { message } = await socket.wait('message', ({ message }) => message.role === 'assistant')
      assert.equal(message.usage?.fromCache, true)
      await socket.wait('turn', ({ turn }) => turn.state === 'ended')
      const deltas = socket.frames.filter((frame) => frame.type === 'delta')
      assert.deepEqual(
        deltas.map(({ offset, text }) => [offset, text]),
        [[0, message.text]],
      )
      assert.equal(gateway.model.calls.length, 1)
      assert.deepEqual(
        [
          await figure(gateway, 'posthouse_cache_total{tier="memory",result="hit"}'),
          await figure(gateway, 'posthouse_cache_hit_ratio{tier="memory"}'),
        ],
        [2, 2 / 3],
      )
    }))

  it('only where the assistant allows it', () =>
    withGateway(
      async ({ ask, model }) => {
        for (let time = 0; time < 3; time++) await ask('The same?')
        assert.equal(model.calls.length, 3)
      },
      { config: () => ({ assistant: {} }) },
    ))

  it('never with history, with a tool, with a file, cut short, from another model, or to who asks again', () =>
    withGateway(
      async (gateway) => {
        const { ask, model, admin } = gateway
        /** Asks several times, each time somebody else; answers how often the model was asked. */
        const asked = async (work: () => Promise<unknown>, times = 2) => {
          const before = model.calls.length
          for (let time = 0; time < times; time++) await work()
          return model.calls.length - before
        }
        const history = async () => {
          const [user, conversation] = [randomUUID(), randomUUID()]
          await ask(`before ${user}`, user, conversation)
          await ask('With history?', user, conversation)
        }
        assert.equal(await asked(history), 4)

        model.reply(({ messages, text }) =>
          messages.some(({ role }) => role === 'tool')
            ? { text: 'by a tool' }
            : text.includes('tool')
              ? { toolCalls: [{ name: 'current_time', arguments: {} }] }
              : { text: `${text} ${randomUUID()}`, ...(text.includes('long') ? { finish: 'length' as const } : {}) },
        )
        assert.equal(await asked(() => ask('With a tool?')), 4)
        assert.equal(await asked(() => ask('Too long?')), 2)

        using socket = await gateway.socket(admin)
        const withFile = async () => {
          const form = new FormData()
          form.append('file', new Blob(['the same file']), 'note.txt')
          const { body } = await gateway.call('/api/v1/files', { method: 'POST', token: admin.token, body: form })
          const [conversation_id, id] = [randomUUID(), randomUUID()]
          socket.send({ type: 'subscribe', conversation_id, after: 0 })
          socket.send({ type: 'send', id, conversation_id, text: '', files: [body.id] })
          await socket.wait('message', ({ message }) => message.conversation_id === conversation_id && message.role === 'assistant')
        }
        assert.equal(await asked(withFile), 2)

        // Who asks again wants another answer, which is the kept one from then on.
        const [conversation_id, first, second] = [randomUUID(), randomUUID(), randomUUID()]
        const answerOf = async (question: string) => {
          const { message } = await socket.wait('accepted', ({ id }) => id === question)
          return (await socket.wait('message', (frame) => frame.message.reply_to === message.id)).message
        }
        const kept = (await ask('Again and again?')).body.answer
        socket.send({ type: 'subscribe', conversation_id, after: 0 })
        socket.send({ type: 'send', id: first, conversation_id, text: 'Again and again?' })
        const one = await answerOf(first)
        assert.deepEqual([one.text, one.usage?.fromCache], [kept, true])
        const replaces = (await socket.wait('accepted', ({ id }) => id === first)).message.id
        socket.send({ type: 'send', id: second, conversation_id, text: 'again and AGAIN?', replaces })
        const two = await answerOf(second)
        assert.notEqual(two.text, kept)
        assert.equal((await ask('Again and again?')).body.answer, two.text)

        assert.equal(await asked(() => ask('What is 5²?'), 1), 1)
        assert.equal(await asked(() => ask('What is 52?'), 1), 1)

        model.failNext({ kind: 'status', status: 500, times: 100, model: 'test-model' })
        await asked(() => ask('By another model?'), 1)
        const fell = model.calls.filter(({ question }) => question?.model === 'other-model').length
        await ask('By another model?')
        assert.equal(model.calls.filter(({ question }) => question?.model === 'other-model').length, fell + 1)
      },
      {
        config: (model) => ({
          models: {
            primary: 'main',
            fallback: ['other'],
            endpoints: {
              main: { api: 'openai', base_url: `${model}/v1`, model: 'test-model' },
              other: { api: 'openai', base_url: `${model}/v1`, model: 'other-model' },
            },
          },
        }),
      },
    ))

  it('the one who is asking fails, or is stopped: the others ask for themselves', () =>
    withGateway(
      async (gateway) => {
        using socket = await gateway.socket(gateway.admin)
        const conversation_id = randomUUID()
        socket.send({ type: 'subscribe', conversation_id, after: 0 })
        socket.send({ type: 'send', id: randomUUID(), conversation_id, text: 'Who is first?' })
        await gateway.model.waitForCall(() => true)
        const others = [gateway.ask('Who is first?'), gateway.ask('Who is first?')]
        await until(async () => (await figure(gateway, 'posthouse_cache_total{tier="memory",result="joined"}')) === 2, 'they wait')
        assert.equal(gateway.model.calls.length, 1)
        gateway.model.setPace({})
        socket.send({ type: 'stop', conversation_id })
        for (const other of await Promise.all(others)) assert.equal(other.body.answer, 'You said: Who is first?')
        assert.equal(gateway.model.calls.length, 3)
      },
      { model: { pace: { firstToken: 60_000 } } },
    ))

  /** Answers with which instructions it was asked, before and after they changed. */
  const instructed = async (env: NodeJS.ProcessEnv) => {
    let answers: unknown[] = []
    const config = (instructions: string) => ({ assistant: { cache_answers: '1h', instructions } })
    await withGateway(
      async (gateway) => {
        gateway.model.reply(({ system }) => system.split('.')[0] ?? '')
        const models = { endpoints: { main: { api: 'openai', base_url: `${gateway.model.url}/v1`, model: 'test-model' } } }
        const before = (await gateway.ask('Who are you?')).body.answer
        gateway.posthouse.configure({ models, ...config('Be a poet.') })
        await until(async () => (await gateway.ask(`probe ${randomUUID()}`)).body.answer === 'Be a poet', 'it counts')
        answers = [before, (await gateway.ask('Who are you?')).body.answer]
      },
      { config: () => config('Be a clerk.'), env },
    )
    return answers
  }
  it('never across instructions', async () => assert.deepEqual(await instructed({}), ['Be a clerk', 'Be a poet']))
  it('turns red for the mutant "keyed without instructions"', async () =>
    assert.deepEqual(await instructed(withMutant('keyed without instructions')), ['Be a clerk', 'Be a clerk']))
})

describe('answers that are given again, over Redis', { skip: skipWithout(noRedis), timeout: 90_000 }, () => {
  const overRedis = (url: string) => ({ ...CACHED, redis: { url, prefix: ownPrefix() } })
  const connected = (gateway: Gateway) =>
    until(async () => (await gateway.call('/readyz')).body.degraded.length === 0, 'Redis is connected', 20_000)

  it('is there', () => assert.equal(noRedis, undefined))

  it('another process gives what the first one asked; Redis holds no word of it', async () => {
    await using redis = await startRedis()
    const read = async (env: NodeJS.ProcessEnv) => {
      await redis.client.flushall()
      const config = { ...overRedis(redis.url), security: {} }
      await withGateway(
        async (gateway) => {
          await connected(gateway)
          await gateway.ask('canary-question?')
          await until(async () => (await redis.client.keys('*:cache:*')).length === 1, 'it is kept')
          await gateway.posthouse.stop()
          await gateway.posthouse.start(env)
          await connected(gateway)
          await gateway.ask('canary-question?')
          assert.equal(gateway.model.calls.length, 1)
          assert.equal(await figure(gateway, 'posthouse_cache_total{tier="redis",result="hit"}'), 1)
        },
        { config: () => config, env },
      )
      const [name = ''] = await redis.client.keys('*:cache:*')
      const value = (await redis.client.get(name)) ?? ''
      return [name, value, Buffer.from(value, 'base64').toString()].join('\n')
    }
    assert.doesNotMatch(await read({}), /canary-question/)
    assert.match(await read(withMutant('cache in plain')), /canary-question/)
  })

  it('emptied, killed, half a second late, full: everybody has the right answer, once', async () => {
    await using redis = await startRedis()
    await using proxy = await createFaultProxy(redis.url.replace('redis:', 'tcp:'))
    await withGateway(
      async (gateway) => {
        await connected(gateway)
        const round = async (name: string) => {
          const questions = Array.from({ length: 40 }, (_, index) => `${name} ${index % 8}?`)
          const answers = await Promise.all(questions.map((question) => gateway.ask(question)))
          assert.deepEqual(
            answers.map(({ body }) => body.answer),
            questions.map((question) => `You said: ${question}`),
          )
        }
        await round('before')
        await redis.client.flushall()
        await round('before')
        await round('emptied')
        proxy.set({ latency: 500 })
        await round('late')
        proxy.set({})
        await redis.stop()
        await round('killed')
        await redis.start()
        await connected(gateway)
        await redis.client.config('SET', 'maxmemory', '1mb')
        await round('full')
        assert.equal(gateway.model.calls.length, 40, 'memory answers what was asked before, whatever Redis does')
      },
      { config: () => overRedis(proxy.url.replace('http:', 'redis:')) },
    )
  })

  /** Answers to one message that the platform hands over again after Redis was emptied. */
  const repeated = async (redis: OwnRedis, env: NodeJS.ProcessEnv) => {
    await using telegram = await createTelegramEmulator()
    await using model = await createModelEmulator({ keys: 'any', models: 'any' })
    await using posthouse = createPosthouse({
      ...overRedis(redis.url),
      models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
      channels: { telegram: { token: telegram.token, api_root: telegram.url } },
    })
    await posthouse.start({ ...env, MUTANT_REDIS: redis.url })
    const update = telegram.say({ text: 'once', from: 7_400_000 })
    const again = async () => {
      telegram.send(update, 7_400_000)
      telegram.say({ text: `mark ${randomUUID()}`, from: 7_500_000 })
      const marks = telegram.posted(7_500_000).length
      await until(() => telegram.posted(7_500_000).length > marks, 'what came behind it is answered')
    }
    await until(() => telegram.posted(7_400_000).length === 1, 'it is answered')
    await again()
    assert.equal(telegram.posted(7_400_000).length, 1)
    await redis.client.flushall()
    await again()
    await again()
    return telegram.posted(7_400_000).length
  }
  it('a message is admitted once, whatever Redis forgets', async () => {
    await using redis = await startRedis()
    assert.equal(await repeated(redis, {}), 1)
    assert.ok((await repeated(redis, withMutant('dedupe in Redis only'))) > 1, 'the mutant is not noticed')
  })
})
