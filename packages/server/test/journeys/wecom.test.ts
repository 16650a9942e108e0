/** People in WeCom, as stories: a real gateway process between the emulated platform and an emulated model server. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  createModelEmulator,
  createStory,
  createWecomEmulator,
  type ModelEmulator,
  type ModelPace,
  type Story,
  type WecomEmulator,
  type WecomEmulatorOptions,
  type WecomPost,
  wecomStage,
} from '@posthouse/testkit'
import { withMutant } from '../chaos/mutants.ts'
import { createNodes, type OneOfSeveral } from '../cluster/nodes.ts'
import { newPlace, noPostgres } from '../contracts/postgres.ts'
import { freePort } from '../ports.ts'
import { createPosthouse, type Ended, type Posthouse, until } from './posthouse.ts'

interface Scene {
  readonly wecom: WecomEmulator
  readonly model: ModelEmulator
  readonly posthouse: Posthouse
  readonly story: Story<WecomPost, string>
  cli(...args: string[]): Promise<Ended>
}

interface SceneOptions {
  readonly mode: 'app' | 'bot' | 'bot-webhook' | 'robot'
  readonly pace?: ModelPace
  readonly emulator?: WecomEmulatorOptions
}

/** The model says back what it was told, or what `replies` holds for it. */
async function inScene({ mode, pace, emulator }: SceneOptions, play: (scene: Scene) => Promise<void>): Promise<void> {
  await using wecom = await createWecomEmulator({
    mode: mode === 'robot' ? 'app' : mode,
    pollEvery: 30,
    retryDelay: 100,
    maxRetryDelay: 500,
    attempts: 100,
    ...emulator,
  })
  await using model = await createModelEmulator({ keys: 'any', models: 'any', ...(pace ? { pace } : {}) })
  const { corp_id, agent_id, secret, token, encoding_aes_key, bot_id, key, url: base_url, ws_url } = wecom
  const called = { bot_id, token, encoding_aes_key }
  const of = { app: { corp_id, agent_id, secret, token, encoding_aes_key }, bot: { bot_id, secret }, 'bot-webhook': called, robot: { key } }
  const port = await freePort()
  await using posthouse = createPosthouse({
    server: { port, public_url: `http://127.0.0.1:${port}` },
    models: { primary: 'main', endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'main', vision: true } } },
    channels: { wecom: { mode, ...of[mode], base_url, ws_url, send_rate: 1000, room_send_rate: 1000 } },
  })
  const cli = (...args: string[]) => posthouse.cli(...args)
  const quiet = () => until(() => wecom.pending === 0 && posthouse.unsettled() === 0, 'everything is done')
  await posthouse.start()
  if (mode === 'app' || mode === 'bot-webhook') await wecom.subscribe(`${posthouse.url}/api/webhook/wecom`)
  if (mode === 'bot') await until(() => wecom.connections === 1, 'it is connected')
  await play({ wecom, model, posthouse, cli, story: createStory(wecomStage(wecom), { quiet }) })
  for (const hidden of [secret, token, encoding_aes_key, key, 'response_code='])
    assert.ok(!posthouse.log.some((line) => line.includes(hidden)), 'a secret is in the log')
}

const stages = (count: number) => Array.from({ length: count }, (_, index) => `stage ${index + 1}`).join(', ')
const sends = ({ ledger }: WecomEmulator) => ledger.filter(({ method }) => method === 'message/send')

describe('WeCom, an app', () => {
  it('a chat, a repetition, a command, a menu, a picture, forged calls', () =>
    inScene({ mode: 'app' }, async ({ story, wecom, model, posthouse }) => {
      const ann = story.user('ann')
      const greeting = ann.says('hi')
      await ann.hears('You said: hi')
      greeting.repeat()
      ann.says('/help')
      await ann.hears(/\/new begins a new conversation/)
      wecom.press('/help', 'ann', 'click')
      await ann.hears(/\/new begins a new conversation/)
      wecom.say({ image: Buffer.from('89504e470d0a1a0a0000000d', 'hex'), from: 'ann' })
      await until(() => model.calls.some(({ question }) => question?.images === 1), 'the model sees the picture')
      await ann.hears(() => true)
      const bad = await fetch(`${posthouse.url}/api/webhook/wecom?msg_signature=${'0'.repeat(40)}&timestamp=1&nonce=1`, {
        method: 'POST',
        body: '<xml><Encrypt>AAAA</Encrypt></xml>',
      })
      assert.equal(bad.status, 401)
      await ann.hearsNothingMore()
    }))

  it('a long answer is several messages, nothing of it cut', () =>
    inScene({ mode: 'app' }, async ({ story, model, wecom }) => {
      const words = Array.from({ length: 1200 }, (_, index) => `w${index}`)
      model.reply(`# Stages\n\n${words.slice(0, 600).join(' ')}\n\n> ${words.slice(600).join(' ')}\n\n**the end**`)
      const ann = story.user('ann')
      ann.says('everything')
      await until(() => wecom.posted('ann').some(({ text }) => text.includes('the end')), 'the end is there')
      const posted = wecom.posted('ann')
      assert.ok(posted.length > 2)
      assert.deepEqual(
        posted
          .map(({ text }) => text)
          .join('\n')
          .match(/\bw\d+\b/g),
        words,
      )
    }))

  it('a limit of calls is honoured, a token that ended is renewed', () =>
    inScene({ mode: 'app' }, async ({ story, wecom }) => {
      const ann = story.user('ann')
      wecom.failNext('message/send', { status: -1, description: 'system busy' })
      ann.says('hi')
      await ann.hears('You said: hi')
      wecom.expireTokens()
      ann.says('again')
      await ann.hears('You said: again')
      await ann.hearsNothingMore()
      assert.equal(sends(wecom).length, 4)
    }))

  it('kill -9 in mid-answer: one answer; what was said meanwhile is answered too', () =>
    inScene({ mode: 'app', pace: { firstToken: 20, interval: 40, chunkSize: 8 } }, async ({ story, model, posthouse }) => {
      model.reply(stages(30))
      const ann = story.user('ann')
      ann.says('the long road')
      await model.waitForCall(({ chunks }) => chunks > 0)
      await posthouse.kill()
      model.setPace({})
      ann.says('are you there?')
      await posthouse.start()
      await ann.hears(stages(30))
      await ann.hears(stages(30))
      await ann.hearsNothingMore()
    }))

  it('an answer whose confirmation is lost is sent again at most once, and marked', () =>
    inScene({ mode: 'app' }, async ({ story, wecom, cli }) => {
      const ann = story.user('ann')
      wecom.dropReplyOf('message/send')
      ann.says('hi')
      await ann.hears('You said: hi')
      await until(async () => {
        const { waiting, unsent } = JSON.parse((await cli('status', '--json')).stdout) as { waiting: number; unsent: number }
        return waiting + unsent === 0
      }, 'everything is done')
      const said = wecom.posted('ann').map(({ text }) => text)
      assert.ok(said.length <= 2 && said.every((text) => text.includes('You said: hi')), said.join('\n'))
    }))
})

describe('WeCom, an AI bot', () => {
  it('private chat, group, an answer that cites', () =>
    inScene({ mode: 'bot' }, async ({ story, model }) => {
      const ann = story.user('ann')
      const greeting = ann.says('hi')
      const post = await ann.hears('You said: hi')
      assert.ok(post.reply_to, 'it answers under its question')
      greeting.repeat()
      const team = story.group('team')
      ann.in(team).says('does anybody want tea?')
      ann.in(team).says('@bot what is tea?')
      const answer = await team.hears(/what is tea\?/)
      assert.equal(answer.msgtype, 'stream')
      story
        .user('bob')
        .in(team)
        .says('@bot and coffee?', { answers: { message_id: answer.id } })
      await team.hears(/> [\s\S]*and coffee\?/)
      ann.in(team).says('@bot /help')
      await team.hears(/\/new begins a new conversation/)
      await team.hearsNothingMore()
      await ann.hearsNothingMore()
      assert.ok(!JSON.stringify(model.calls).includes('anybody'))
    }))

  it('an answer grows in one message; a document is read', () =>
    inScene({ mode: 'bot', pace: { firstToken: 20, interval: 60, chunkSize: 4 } }, async ({ story, model, wecom }) => {
      model.reply(({ text }) => (text === 'the long road' ? stages(40) : 'read'))
      const ann = story.user('ann')
      ann.says('the long road')
      await until(() => wecom.posted('ann').some(({ streaming, edits }) => streaming && edits.length > 0), 'the preview grows')
      const post = await ann.hears(stages(40))
      assert.equal(post.streaming, false)
      assert.equal(wecom.posted('ann').length, 1)
      ann.says('sum it up', { document: { name: 'plan.txt', bytes: Buffer.from('Nine horses, 三匹白马.') } })
      // The platform tells its name only where it is fetched from.
      await ann.hears('read')
      await until(() => model.calls.some(({ question }) => JSON.stringify(question?.messages ?? '').includes('三匹白马')), 'it is read')
    }))

  it('kill -9 in mid-answer: the whole answer comes, as a message of its own', () =>
    inScene({ mode: 'bot', pace: { firstToken: 20, interval: 60, chunkSize: 4 } }, async ({ story, model, posthouse, wecom }) => {
      model.reply(stages(40))
      const ann = story.user('ann')
      ann.says('the long road')
      await until(() => wecom.posted('ann').some(({ edits }) => edits.length > 0), 'the preview grows')
      await posthouse.kill()
      model.setPace({})
      await posthouse.start()
      await until(() => wecom.posted('ann').some(({ text }) => text === stages(40)), 'the whole answer')
      assert.deepEqual(
        wecom.posted('ann').map(({ msgtype }) => msgtype),
        ['stream', 'markdown'],
      )
    }))

  it('a second program with the same bot is told, and a cut line is mended', () =>
    inScene({ mode: 'bot' }, async ({ story, wecom, posthouse }) => {
      const told = (state: string, words: RegExp) =>
        until(() => posthouse.log.some((line) => line.includes(`"state":"${state}"`) && words.test(line)), state)
      wecom.cut()
      await told('degraded', /is being tried again/)
      await until(() => wecom.connections === 1, 'it is connected again')
      const ann = story.user('ann')
      ann.says('hi')
      await ann.hears('You said: hi')
      await using other = createPosthouse({
        models: { primary: 'main', endpoints: { main: { api: 'openai', base_url: 'http://127.0.0.1:9/v1', model: 'main' } } },
        channels: { wecom: { mode: 'bot', bot_id: wecom.bot_id, secret: wecom.secret, base_url: wecom.url, ws_url: wecom.ws_url } },
      })
      await other.start()
      await told('conflict', /another program connects with this bot_id/)
    }))
})

describe('WeCom, AI bots of two nodes', { skip: noPostgres ?? false }, () => {
  const people = ['ann', 'bob', 'cat', 'dan', 'eve', 'fay']

  /** The first node answers one person at a time, so that the second answers others. */
  async function withNodes(
    mode: 'bot' | 'bot-webhook',
    play: (scene: { wecom: WecomEmulator; one: OneOfSeveral; two: OneOfSeveral; answeredBy(name: string): number }) => Promise<void>,
  ): Promise<void> {
    await using wecom = await createWecomEmulator({ mode, pollEvery: 30, retryDelay: 100, maxRetryDelay: 500, attempts: 100 })
    const pace: ModelPace = { firstToken: 300, interval: 50, chunks: 4 }
    await using model = await createModelEmulator({ keys: 'any', models: 'any', pace })
    const url = await newPlace()
    const { bot_id, secret, token, encoding_aes_key, url: base_url, ws_url } = wecom
    const of = { bot: { secret }, 'bot-webhook': { token, encoding_aes_key } }
    await using nodes = await createNodes(['one', 'two'], (name, port) => ({
      database: { url },
      server: { public_url: `http://127.0.0.1:${port}` },
      models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: name } } },
      resources: { max_concurrency: name === 'one' ? 1 : 10 },
      channels: { wecom: { mode, bot_id, ...of[mode], base_url, ws_url, send_rate: 1000, room_send_rate: 1000 } },
    }))
    const [one, two] = nodes
    assert.ok(one && two)
    for (const node of nodes) await node.start(withMutant('hurried nodes'))
    if (mode === 'bot') await until(() => wecom.connections === 1, 'one of them is connected')
    await play({ wecom, one, two, answeredBy: (name) => model.calls.filter(({ question }) => question?.model === name).length })
  }

  it('by the long connection: what the other node answers is sent at once, by the one that is connected', () =>
    withNodes('bot', async ({ wecom, two, answeredBy }) => {
      for (const person of people) wecom.say({ text: `hello from ${person}`, from: person })
      const answers = () => people.filter((person) => wecom.posted(person).some(({ text }) => text === `You said: hello from ${person}`))
      await until(() => answers().length === people.length, 'everybody is answered', 15_000)
      assert.ok(answeredBy('two') > 0, 'the node without a connection answered somebody')
      assert.ok(people.every((person) => wecom.posted(person).length === 1))
      const { code, stderr } = await two.cli('send', 'wecom', 'ann', 'from the other node')
      assert.equal(code, 0, stderr)
      await wecom.waitForPosted(({ text }) => text === 'from the other node')
      const { dead, maybeDuplicates } = JSON.parse((await two.cli('status', '--json')).stdout) as { dead: number; maybeDuplicates: number }
      assert.deepEqual([dead, maybeDuplicates], [0, 0])
    }))

  it('by the long connection: the connected node dies; the other connects, and sends what was left', () =>
    withNodes('bot', async ({ wecom, one, two }) => {
      const { leases } = JSON.parse((await two.cli('status', '--json')).stdout) as { leases: { name: string; node: string }[] }
      const holder = leases.find(({ name }) => name === 'wecom')?.node
      const [dying, staying] = holder === 'one' ? [one, two] : [two, one]
      for (const person of people) wecom.say({ text: `hello from ${person}`, from: person })
      await until(() => people.some((person) => wecom.posted(person).length > 0), 'answers come')
      await dying.kill()
      const answered = (person: string) => wecom.posted(person).some(({ text }) => text.includes(`You said: hello from ${person}`))
      await until(() => people.every(answered), 'everybody is answered', 40_000)
      const posted = people.reduce((sum, person) => sum + wecom.posted(person).filter(({ streaming }) => !streaming).length, 0)
      const { dead, maybeDuplicates } = JSON.parse((await staying.cli('status', '--json')).stdout) as {
        dead: number
        maybeDuplicates: number
      }
      assert.equal(dead, 0)
      assert.ok(posted - people.length <= maybeDuplicates, `${posted} answers, ${maybeDuplicates} marked`)
    }))

  it('by calls: every node says how far an answer is, whoever writes it', () =>
    withNodes('bot-webhook', async ({ wecom, one, two, answeredBy }) => {
      await wecom.subscribe(`${one.url}/api/webhook/wecom`)
      for (const person of people) wecom.say({ text: `hello from ${person}`, from: person })
      await until(() => wecom.pending === 0, 'all are taken')
      await wecom.subscribe(`${two.url}/api/webhook/wecom`)
      const answered = (person: string) =>
        wecom.posted(person).some(({ text, streaming }) => text === `You said: hello from ${person}` && !streaming)
      await until(() => people.every(answered), 'everybody is answered', 20_000)
      assert.ok(answeredBy('one') > 0 && answeredBy('two') > 0, 'both nodes answered somebody')
      assert.ok(people.every((person) => wecom.posted(person).length === 1))
      assert.deepEqual(wecom.refused, [])
    }))
})

describe('WeCom, an AI bot that is called', () => {
  it('private chat, group, a repetition, a command, forged calls', () =>
    inScene({ mode: 'bot-webhook' }, async ({ story, wecom, posthouse }) => {
      const ann = story.user('ann')
      const greeting = ann.says('hi')
      const post = await ann.hears('You said: hi')
      assert.ok(post.reply_to, 'it answers under its question')
      greeting.repeat()
      const team = story.group('team')
      ann.in(team).says('@bot what is tea?')
      assert.equal((await team.hears(/what is tea\?/)).msgtype, 'stream')
      ann.says('/help')
      await ann.hears(/\/new begins a new conversation/)
      const bad = await fetch(`${posthouse.url}/api/webhook/wecom?msg_signature=${'0'.repeat(40)}&timestamp=1&nonce=1`, {
        method: 'POST',
        body: '{"encrypt":"AAAA"}',
      })
      assert.equal(bad.status, 401)
      await ann.hearsNothingMore()
      await team.hearsNothingMore()
      assert.deepEqual(wecom.refused, [])
    }))

  it('an answer grows in one message; a long one goes on at the address that came with the question', () =>
    inScene({ mode: 'bot-webhook', pace: { firstToken: 20, interval: 50, chunkSize: 4 } }, async ({ story, model, wecom }) => {
      const words = Array.from({ length: 4000 }, (_, index) => `word${index}`)
      model.reply(({ text }) => (text === 'the long road' ? stages(40) : words.join(' ')))
      const ann = story.user('ann')
      ann.says('the long road')
      await until(() => wecom.posted('ann').some(({ streaming, edits }) => streaming && edits.length > 1), 'the preview grows')
      const post = await ann.hears(stages(40))
      assert.equal(post.streaming, false)
      assert.equal(wecom.posted('ann').length, 1)
      model.setPace({ firstToken: 0, interval: 0, chunkSize: 10_000 })
      ann.says('everything')
      await until(() => wecom.posted('ann').length === 3 && wecom.posted('ann').every(({ streaming }) => !streaming), 'all of it is there')
      const [, begin, rest] = wecom.posted('ann')
      assert.deepEqual([begin?.msgtype, rest?.msgtype], ['stream', 'markdown'])
      assert.deepEqual(`${begin?.text} ${rest?.text}`.match(/word\d+/g), words)
    }))

  it('kill -9 in mid-answer: the same message grows on and ends; nothing is there twice', () =>
    inScene(
      { mode: 'bot-webhook', pace: { firstToken: 20, interval: 50, chunkSize: 4 } },
      async ({ story, model, posthouse, wecom, cli }) => {
        model.reply(stages(40))
        const ann = story.user('ann')
        ann.says('the long road')
        await until(() => wecom.posted('ann').some(({ text }) => text.includes('stage 2')), 'the preview grows')
        await posthouse.kill()
        const { polls } = wecom
        await until(() => wecom.polls > polls + 3, 'the platform asks in vain')
        await posthouse.start()
        await until(() => wecom.posted('ann').some(({ text, streaming }) => text === stages(40) && !streaming), 'the whole answer')
        await until(() => posthouse.unsettled() === 0, 'everything is done')
        assert.equal(wecom.posted('ann').length, 1)
        const { dead, maybeDuplicates } = JSON.parse((await cli('status', '--json')).stdout) as { dead: number; maybeDuplicates: number }
        assert.deepEqual([dead, maybeDuplicates], [0, 0])
      },
    ))

  it('kill -9 while an answer waits to be fetched: the next process hands it out, once', () =>
    inScene({ mode: 'bot-webhook', emulator: { pollEvery: 3000 } }, async ({ story, model, posthouse, wecom }) => {
      story.user('ann').says('hi')
      await model.waitForCall(({ question }) => question?.text === 'hi')
      await until(() => posthouse.unsettled() > 0 && wecom.pending === 0, 'the answer waits')
      await posthouse.kill()
      await posthouse.start()
      await until(() => wecom.posted('ann').some(({ text }) => text === 'You said: hi'), 'the answer is there')
      await until(() => posthouse.unsettled() === 0, 'everything is done')
      assert.deepEqual(
        wecom.posted('ann').map(({ msgtype }) => msgtype),
        ['stream'],
      )
    }))

  it('lost answers on either way: nothing is missing, nothing is there twice', () =>
    inScene({ mode: 'bot-webhook' }, async ({ story, wecom, cli, posthouse }) => {
      wecom.dropReplyOf('callback')
      wecom.dropReplyOf('poll', 3)
      const ann = story.user('ann')
      ann.says('hi')
      await ann.hears('You said: hi')
      wecom.dropReplyOf('aibot/response')
      const { code, stderr } = await cli('send', 'wecom', 'ann', 'one more thing')
      assert.equal(code, 0, stderr)
      await ann.hears('one more thing')
      await until(() => posthouse.unsettled() === 0, 'everything is done')
      await ann.hearsNothingMore()
      assert.equal(wecom.ledger.filter(({ method }) => method === 'aibot/response').length, 2)
    }))
})

describe('WeCom, a group robot', () => {
  it('says what it is told to say, and hears nothing', () =>
    inScene({ mode: 'robot' }, async ({ cli, wecom }) => {
      const { code, stderr } = await cli('send', 'wecom', 'team', '**The build** is green')
      assert.equal(code, 0, stderr)
      const post = await wecom.waitForPosted(({ text }) => text.includes('is green'))
      assert.equal(post.source, '**The build** is green')
    }))
})
