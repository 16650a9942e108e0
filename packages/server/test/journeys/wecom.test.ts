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
  readonly mode: 'app' | 'bot' | 'robot'
  readonly pace?: ModelPace
  readonly emulator?: WecomEmulatorOptions
}

/** The model says back what it was told, or what `replies` holds for it. */
async function inScene({ mode, pace, emulator }: SceneOptions, play: (scene: Scene) => Promise<void>): Promise<void> {
  await using wecom = await createWecomEmulator({
    mode: mode === 'bot' ? 'bot' : 'app',
    retryDelay: 100,
    maxRetryDelay: 500,
    attempts: 100,
    ...emulator,
  })
  await using model = await createModelEmulator({ keys: 'any', models: 'any', ...(pace ? { pace } : {}) })
  const { corp_id, agent_id, secret, token, encoding_aes_key, bot_id, key, url: base_url, ws_url } = wecom
  const of = { app: { corp_id, agent_id, secret, token, encoding_aes_key }, bot: { bot_id, secret }, robot: { key } }
  const port = await freePort()
  await using posthouse = createPosthouse({
    server: { port, public_url: `http://127.0.0.1:${port}` },
    models: { primary: 'main', endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'main', vision: true } } },
    channels: { wecom: { mode, ...of[mode], base_url, ws_url, send_rate: 1000, room_send_rate: 1000 } },
  })
  const cli = (...args: string[]) => posthouse.cli(...args)
  const quiet = () => until(() => wecom.pending === 0 && posthouse.unsettled() === 0, 'everything is done')
  await posthouse.start()
  if (mode === 'app') await wecom.subscribe(`${posthouse.url}/api/webhook/wecom`)
  if (mode === 'bot') await until(() => wecom.connections === 1, 'it is connected')
  await play({ wecom, model, posthouse, cli, story: createStory(wecomStage(wecom), { quiet }) })
  for (const hidden of [secret, token, encoding_aes_key, key])
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

describe('WeCom, a group robot', () => {
  it('says what it is told to say, and hears nothing', () =>
    inScene({ mode: 'robot' }, async ({ cli, wecom }) => {
      const { code, stderr } = await cli('send', 'wecom', 'team', '**The build** is green')
      assert.equal(code, 0, stderr)
      const post = await wecom.waitForPosted(({ text }) => text.includes('is green'))
      assert.equal(post.source, '**The build** is green')
    }))
})
