/** Tools in Telegram: what a model asks for is done once or not at all, whatever dies in between. The tool's own ledger is the judge. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import {
  createModelEmulator,
  createTelegramEmulator,
  type ModelEmulator,
  type ModelQuestion,
  type ModelReply,
  type TelegramEmulator,
} from '@posthouse/testkit'
import { mutants, withMutant } from '../chaos/mutants.ts'
import { preloading } from '../chaos/preload/edit.ts'
import { createPosthouse, type Posthouse, until } from './posthouse.ts'

const CHAT = 1001

interface Scene {
  readonly telegram: TelegramEmulator
  readonly model: ModelEmulator
  readonly posthouse: Posthouse
  ask(text: string): void
  /** The next message in the chat that holds this. */
  hears(text: string): Promise<string>
  /** Texts of all messages in the chat. */
  said(): readonly string[]
  /** Runs of the tool `book`. */
  runs(): readonly string[]
}

const withTool = preloading({}, 'ledger-tool')

async function inScene(env: NodeJS.ProcessEnv, play: (scene: Scene) => Promise<void>): Promise<void> {
  await using telegram = await createTelegramEmulator()
  await using model = await createModelEmulator({ keys: 'any', models: 'any' })
  await using posthouse = createPosthouse({
    models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
    channels: { telegram: { token: telegram.token, api_root: telegram.url, send_rate: 1000, room_send_rate: 1000 } },
  })
  await posthouse.start(env)
  const ledger = join(posthouse.folder, 'ledger')
  await play({
    telegram,
    model,
    posthouse,
    ask: (text) => void telegram.say({ text, chat: CHAT, from: CHAT }),
    hears: async (text) => (await telegram.waitForPosted((posted) => posted.chat === CHAT && posted.text.includes(text), 15_000)).text,
    said: () => telegram.posted(CHAT).map(({ text }) => text),
    runs: () => (existsSync(ledger) ? readFileSync(ledger, 'utf8').split('\n').filter(Boolean) : []),
  })
}

/** Results of tools that the model was shown with this question. */
const resultsIn = ({ messages }: ModelQuestion) => messages.filter(({ role }) => role === 'tool').map(({ text }) => text)

/** Asks for `calls` first, and says the results when it has them. */
const callsOnce =
  (...calls: NonNullable<ModelReply['toolCalls']>) =>
  (question: ModelQuestion): ModelReply => {
    const results = resultsIn(question)
    return results.length > 0 ? { text: `It says: ${results.join(' | ')}` } : { toolCalls: calls }
  }
const books = (what: string) => callsOnce({ name: 'book', arguments: { what } })

describe('tools', () => {
  it('a model asks for the time, and the person reads it', () =>
    inScene({}, async ({ model, ask, hears, said }) => {
      model.reply(callsOnce({ name: 'current_time', arguments: { time_zone: 'Asia/Shanghai' } }))
      ask('What time is it in Shanghai?')
      assert.match(await hears('It says'), /^It says: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+08:00 \(\w+day, Asia\/Shanghai\)$/)
      assert.equal(said().length, 1)
      assert.deepEqual(model.calls[0]?.question?.tools, ['current_time'])
    }))

  it("the same in Anthropic's format, and to the last step", async () => {
    await using telegram = await createTelegramEmulator()
    await using model = await createModelEmulator({ keys: 'any', models: 'any' })
    await using posthouse = createPosthouse({
      models: { endpoints: { main: { api: 'anthropic', base_url: model.url, api_key: 'k', model: 'test-model' } } },
      channels: { telegram: { token: telegram.token, api_root: telegram.url } },
    })
    await posthouse.start()
    const toolCalls = [{ name: 'current_time', arguments: { time_zone: 'UTC' } }]
    model.reply(({ tools, body }) =>
      tools.length > 0 ? { toolCalls } : `It was ${JSON.stringify(body.messages).match(/, UTC\)/g)?.length} times.`,
    )
    telegram.say({ text: 'What time is it?', chat: CHAT, from: CHAT })
    await telegram.waitForPosted(({ text }) => text === 'It was 8 times.', 15_000)
    assert.equal(model.calls.length, 9)
  })

  it('an endpoint that knows no tools answers without them', async () => {
    await using telegram = await createTelegramEmulator()
    await using model = await createModelEmulator({ keys: 'any', models: 'any', refuse: ['tools'] })
    await using posthouse = createPosthouse({
      models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
      channels: { telegram: { token: telegram.token, api_root: telegram.url } },
    })
    await posthouse.start()
    telegram.say({ text: 'hi', chat: CHAT, from: CHAT })
    await telegram.waitForPosted(({ text }) => text === 'You said: hi', 15_000)
  })

  it('F38: repeated ids, unknown tools, wrong and endless arguments, a model without an end', () =>
    inScene({}, async ({ model, ask, hears, said }) => {
      const now = { name: 'current_time', arguments: { time_zone: 'UTC' } }
      model.reply(callsOnce({ ...now, id: 'same' }, { ...now, id: 'same' }))
      ask('twins')
      assert.equal((await hears('It says')).match(/, UTC\)/g)?.length, 2)

      model.reply(callsOnce({ name: 'launch', arguments: {} }, { name: 'current_time', arguments: '{"time_zone":' }))
      ask('strangers')
      const told = await hears('no tool of this name')
      assert.match(told, /there are: current_time \| Error: the arguments are not valid JSON/)

      model.reply(({ text }) =>
        text === 'a flood' ? { toolCalls: [{ name: 'current_time', arguments: { time_zone: 'x'.repeat(1_000_000) } }] } : 'Still here.',
      )
      ask('a flood')
      await hears('No model could answer just now')
      ask('and now?')
      await hears('Still here.')

      model.reply(({ tools }) => (tools.length > 0 ? { toolCalls: [now] } : { text: 'Enough of that.' }))
      const before = model.calls.length
      ask('for ever')
      await hears('Enough of that.')
      assert.equal(model.calls.length - before, 9)
      assert.equal(said().length, 5)
      assert.deepEqual(
        model.calls.filter(({ ended }) => ended?.how === 'refused'),
        [],
      )
    }))

  it('stop ends a tool', () =>
    inScene(withTool, async ({ model, ask, hears, runs }) => {
      model.reply(books('wait'))
      ask('Book, and wait.')
      await until(() => runs().length === 1, 'the tool runs')
      ask('/stop')
      assert.match(await hears('was interrupted'), /tool book was interrupted/)
      await hears('Stopped.')
      await until(() => runs().length === 2, 'the signal is heard')
    }))

  it('F39: killed between intent and result, the tool has run once, and the person is told', () =>
    inScene(withTool, async ({ posthouse, model, ask, hears, said, runs }) => {
      model.reply(books('crash'))
      ask('Book a seat.')
      await posthouse.exited()
      await posthouse.start(withTool)
      assert.match(await hears('It says'), /nobody knows whether it took effect[\s\S]*\n\n\(The tool book was interrupted/)
      assert.deepEqual([runs().length, said().length], [1, 1])

      model.reply(books('seat 8'))
      ask('再订一个。')
      await hears('It says: booked: seat 8')
      assert.equal(runs().length, 2, 'what is asked for anew is done')
    }))

  it('F39: killed after the result, the tool is not run again, and its result is used', () =>
    inScene(withTool, async ({ posthouse, model, ask, hears, said, runs }) => {
      const reply = books('seat 7')
      let holds = true
      model.reply((question) => ({ ...reply(question), ...(holds && resultsIn(question).length > 0 ? { firstToken: 60_000 } : {}) }))
      ask('Book a seat.')
      await model.waitForCall(({ question }) => question !== undefined && resultsIn(question).length > 0, 15_000)
      await posthouse.kill()
      holds = false
      await posthouse.start(withTool)
      assert.equal(await hears('It says'), 'It says: booked: seat 7')
      assert.deepEqual([runs().length, said().length], [1, 1])
    }))

  for (const { name } of mutants.filter(({ rows }) => rows.includes('F39'))) {
    it(`turns red for the mutant "${name}"`, () =>
      inScene(withMutant(name, withTool), async ({ posthouse, model, ask, hears, runs }) => {
        model.reply(books('crash'))
        ask('Book a seat.')
        await posthouse.exited()
        await posthouse.start(withMutant(name, withTool))
        await hears('It says')
        assert.equal(runs().length, 2, 'the journey does not notice')
      }))
  }
})
