/** People in Feishu, as stories: a real gateway process between the emulated platform and an emulated model server. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  createFeishuEmulator,
  createModelEmulator,
  createStory,
  type FeishuEmulator,
  type FeishuEmulatorOptions,
  type FeishuPost,
  feishuStage,
  type ModelEmulator,
  type ModelPace,
  type Story,
} from '@posthouse/testkit'
import { freePort } from '../ports.ts'
import { createPosthouse, type Posthouse, until } from './posthouse.ts'

interface Scene {
  readonly feishu: FeishuEmulator
  readonly model: ModelEmulator
  readonly posthouse: Posthouse
  readonly story: Story<FeishuPost, string>
  /** What `posthouse ... --json` says. */
  cli<T>(...args: string[]): Promise<T>
}

interface SceneOptions {
  readonly account?: object
  readonly server?: object
  readonly pace?: ModelPace
  readonly emulator?: FeishuEmulatorOptions
  /** Codes with which Feishu is expected to refuse a call. */
  readonly refusals?: readonly number[]
}

/** The model says back what it was told, or what `replies` holds for it. */
async function inScene(options: SceneOptions, play: (scene: Scene) => Promise<void>): Promise<void> {
  await using feishu = await createFeishuEmulator({ retryDelay: 100, maxRetryDelay: 500, ...options.emulator })
  await using model = await createModelEmulator({ keys: 'any', models: 'any', ...(options.pace ? { pace: options.pace } : {}) })
  const { app_id, app_secret, url } = feishu
  await using posthouse = createPosthouse({
    ...(options.server ? { server: options.server } : {}),
    models: { primary: 'main', endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'main', vision: true } } },
    channels: { feishu: { app_id, app_secret, base_url: url, send_rate: 1000, room_send_rate: 1000, ...options.account } },
  })
  const cli = async <T>(...args: string[]) => {
    const { code, stdout, stderr } = await posthouse.cli(...args, '--json')
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout) as T
  }
  const quiet = () => until(() => feishu.pending === 0 && posthouse.unsettled() === 0, 'everything is done')
  await posthouse.start()
  await play({ feishu, model, posthouse, cli, story: createStory(feishuStage(feishu), { quiet }) })
  const refused = feishu.ledger.flatMap(({ outcome }) => (outcome.code === 400 ? [(outcome.body as { code: number }).code] : []))
  assert.deepEqual(refused, options.refusals ?? [], 'what Feishu refused')
}

const stages = (count: number) => Array.from({ length: count }, (_, index) => `stage ${index + 1}`).join(', ')
const allTaken = (feishu: FeishuEmulator) => until(() => feishu.pending === 0, 'every event is taken')
const sendsOf = (feishu: FeishuEmulator) => feishu.ledger.filter(({ method }) => method === 'im.message.create')

describe('Feishu', () => {
  it('private chat, group, topic, an answer to an answer', () =>
    inScene({}, async ({ story, model, feishu }) => {
      const ann = story.user('ann')
      const greeting = ann.says('hi')
      await ann.hears('You said: hi')
      greeting.repeat()
      const team = story.group('team')
      ann.in(team).says('does anybody want tea?')
      ann.in(team).says('@bot what is tea?')
      const answer = await team.hears('You said: ann: what is tea?')
      assert.ok(answer.reply_to, 'in a group an answer refers to its question')
      story.user('bob').in(team).says('and coffee?', { answers: answer })
      await team.hears('You said: bob: and coffee?')
      const topic = team.topic(7)
      ann.in(topic).says('@bot in here')
      const inTopic = await topic.hears('You said: ann: in here')
      assert.ok(inTopic.thread_id)
      await team.hearsNothingMore()
      await ann.hearsNothingMore()
      assert.ok(!JSON.stringify(model.calls).includes('anybody'), 'what was not meant for it reached the model')
      assert.equal(feishu.connections, 1)
      assert.ok([...new Set(feishu.posted().map(({ message_id }) => message_id))].length === 4)
    }))

  for (const mode of ['websocket', 'webhook'])
    it(`${mode}: names, titles and messages that Feishu never tells hold neither acknowledgement nor answer`, async () => {
      const port = await freePort()
      const server = { port, public_url: `http://127.0.0.1:${port}` }
      const verification_token = 'token-known-to-both'
      const account = { mode, ...(mode === 'webhook' ? { verification_token } : {}) }
      await inScene({ server, account, emulator: { verification_token } }, async ({ story, feishu, posthouse, model }) => {
        if (mode === 'webhook') await feishu.subscribe(`${posthouse.url}/api/webhook/feishu`)
        const ann = story.user('ann')
        const team = story.group('team')
        ann.in(team).says('@bot what is tea?')
        const answer = await team.hears('You said: ann: what is tea?')
        // The next process asked nobody anything yet, and will hear nothing.
        await posthouse.stop()
        for (const method of ['bot.info', 'contact.user.get', 'im.chat.get', 'im.message.get']) feishu.delay(method, 3_600_000)
        await posthouse.start()
        story.user('bob').in(team).says('and coffee?', { answers: answer })
        await team.hears('You said: and coffee?')
        const topic = team.topic(7)
        const oops = ann.in(topic).says('@bot my password is 1234')
        await topic.hears('You said: my password is 1234')
        oops.recall?.()
        await allTaken(feishu)
        ann.in(topic).says('@bot what did I say?')
        await topic.hears('You said: what did I say?')
        const told = JSON.stringify(model.calls.at(-1)?.question?.messages)
        assert.ok(!told.includes('ann: ') && told.includes('what did I say?'))
        assert.ok(!told.includes('"my password'), 'what was taken back in a topic was read again')
      })
    })

  it('/help, and a command behind a mention', () =>
    inScene({}, async ({ story }) => {
      const ann = story.user('ann')
      ann.says('/help')
      await ann.hears(/\/new begins a new conversation/)
      const team = story.group('team')
      ann.in(team).says('@bot /help')
      await team.hears(/\/new begins a new conversation/)
      await ann.hearsNothingMore()
    }))

  it('a picture, a document', () =>
    inScene({}, async ({ story, model, feishu }) => {
      const ann = story.user('ann')
      feishu.say({ image: Buffer.from('89504e470d0a1a0a0000000d', 'hex'), from: { open_id: ann.id, name: 'ann' } })
      await until(() => model.calls.some(({ question }) => question?.images === 1), 'the model sees the picture')
      await ann.hears(() => true)
      ann.says('sum it up', { document: { name: 'plan.txt', mime: 'text/plain', bytes: Buffer.from('Nine horses, 三匹白马.') } })
      await ann.hears(() => true)
      await until(
        () => model.calls.some(({ question }) => /plan\.txt[\s\S]*Nine horses, 三匹白马\./.test(JSON.stringify(question?.messages ?? ''))),
        'the model reads the document',
      )
    }))

  it('an edited message before its answer, and one that is taken back', () =>
    inScene({}, async ({ story, model, feishu }) => {
      model.reply(({ text }) => (text === 'wait' ? { text: stages(12), interval: 60, chunkSize: 4 } : `You said: ${text}`))
      const ann = story.user('ann')
      ann.says('wait')
      await model.waitForCall(({ chunks }) => chunks > 0)
      const question = ann.says('to Luoyang')
      const oops = ann.says('my password is 1234')
      await allTaken(feishu)
      question.change('to Chang’an')
      oops.recall?.()
      await allTaken(feishu)
      await ann.hears(stages(12))
      await ann.hears('You said: to Chang’an')
      await ann.hearsNothingMore()
      assert.ok(!JSON.stringify(model.calls).includes('1234'), 'what was taken back reached the model')
    }))

  it('an answer grows in one card, and its question is marked meanwhile', () =>
    inScene({ pace: { firstToken: 20, interval: 60, chunkSize: 4 } }, async ({ story, model, feishu }) => {
      model.reply(stages(40))
      const ann = story.user('ann')
      ann.says('the long road')
      await until(() => feishu.ledger.some(({ method }) => method === 'im.messageReaction.create'), 'the question is marked')
      await until(
        () => feishu.posted(ann.room).some(({ streaming, text }) => streaming && stages(40).startsWith(text) && text !== ''),
        'the preview',
      )
      const post = await ann.hears(stages(40))
      assert.equal(post.streaming, false)
      assert.ok(post.edits.length > 2, 'it grew')
      assert.equal(feishu.posted(ann.room).length, 1)
      await until(() => feishu.ledger.some(({ method }) => method === 'im.messageReaction.delete'), 'the mark is taken back')
      await ann.hearsNothingMore()
    }))

  it('without the right to make growing cards answers come whole', () =>
    inScene(
      { pace: { firstToken: 20, interval: 30, chunkSize: 4 }, refusals: [99991672, 99991672, 99991672] },
      async ({ story, model, feishu }) => {
        feishu.withdraw('cardkit:card:write')
        model.reply(stages(60))
        const ann = story.user('ann')
        ann.says('the long road')
        await ann.hears(stages(60))
        await ann.hearsNothingMore()
        assert.equal(feishu.posted(ann.room).length, 1)
      },
    ))

  it('kill -9 in mid-answer: one answer, in its card', () =>
    inScene({ pace: { firstToken: 20, interval: 60, chunkSize: 4 } }, async ({ story, model, posthouse, feishu }) => {
      model.reply(stages(40))
      const ann = story.user('ann')
      ann.says('the long road')
      await until(() => feishu.posted(ann.room).some(({ edits }) => edits.length > 0), 'the preview grows')
      await posthouse.kill()
      model.setPace({})
      ann.says('are you there?')
      await posthouse.start()
      const post = await ann.hears(stages(40))
      assert.equal(post.streaming, false)
      await ann.hears(stages(40))
      await ann.hearsNothingMore()
      assert.equal(feishu.posted(ann.room).length, 2)
    }))

  it('a long answer with all kinds of formatting arrives whole', () =>
    inScene({}, async ({ story, model, feishu }) => {
      const words = Array.from({ length: 9000 }, (_, index) => `w${index}`)
      const markdown = [
        '# Stages <of> & the road',
        words.slice(0, 4000).join(' '),
        `- **bold ${words[4000]}** and *slanted*\n- [a link](https://example.com/?a=1&b=2) with \`co<de>\`\n- ~~gone~~ snake_case_name * 2 ** 3`,
        `\`\`\`ts\n${words
          .slice(4001, 7000)
          .map((word) => `let ${word} = a < b && c > d`)
          .join('\n')}\n\`\`\``,
        '| stage | horses |\n| --- | --- |\n| one | **nine** |',
        `> ${words.slice(7000).join(' ')}`,
        '<at id=all></at> ![picture](https://example.com/i.png) unclosed **bold and `code',
      ].join('\n\n')
      model.reply(markdown)
      const ann = story.user('ann')
      ann.says('everything')
      await until(() => feishu.posted(ann.room).some(({ text }) => text.includes('unclosed')), 'the end is there')
      const posted = feishu.posted(ann.room)
      assert.ok(posted.length > 3 && posted.every(({ msg_type }) => msg_type === 'interactive'))
      assert.deepEqual(
        posted
          .map(({ text }) => text)
          .join('\n')
          .match(/\bw\d+\b/g),
        words,
      )
    }))

  it('a limit of calls is honoured', () =>
    inScene({}, async ({ story, feishu }) => {
      const ann = story.user('ann')
      feishu.failNext('im.message.create', { status: 429, description: 'request trigger frequency limit', retryAfter: 1 })
      ann.says('hi')
      await ann.hears('You said: hi')
      const [refused, sent] = sendsOf(feishu)
      assert.equal(refused?.outcome.code, 429)
      assert.ok((sent?.at ?? 0) - (refused?.at ?? 0) >= 1000, 'it was sent again too early')
      await ann.hearsNothingMore()
    }))

  it('an answer whose confirmation is lost comes once: the platform knows its key', () =>
    inScene({}, async ({ story, feishu, cli }) => {
      const ann = story.user('ann')
      feishu.dropReplyOf('im.message.create', 2)
      ann.says('hi')
      await ann.hears('You said: hi')
      await ann.hearsNothingMore()
      assert.equal(sendsOf(feishu).length, 3)
      assert.equal(feishu.posted(ann.room).length, 1)
      assert.equal((await cli<{ maybeDuplicates: number }>('status')).maybeDuplicates, 0)
    }))

  it('a cut line and too many connections are told', () =>
    inScene({ refusals: [1000040350] }, async ({ feishu, posthouse }) => {
      await until(() => feishu.connections === 1, 'it is connected')
      feishu.failNext('ws.endpoint', { status: 1000040350, description: 'the number of connections exceeded the limit' })
      feishu.cut()
      const told = (state: string, words: RegExp) =>
        until(() => posthouse.log.some((line) => line.includes(`"state":"${state}"`) && words.test(line)), state)
      await told('degraded', /is being tried again/)
      await told('conflict', /50/)
    }))

  it('a secret that is not accepted any more is told, and named', () =>
    inScene({}, async ({ feishu, posthouse }) => {
      await until(() => feishu.connections === 1, 'it is connected')
      feishu.revoke()
      await until(() => posthouse.log.some((line) => line.includes('"state":"needs-auth"') && line.includes('app_secret')), 'it is told')
      assert.ok(!posthouse.log.some((line) => line.includes(feishu.app_secret)), 'the secret is in the log')
      const status = async () => (await posthouse.cli('status')).stdout
      await until(async () => /its credentials are refused: .*app_secret/.test(await status()), 'the status tells it')
      assert.match(await status(), /Next: posthouse doctor/)
    }))

  for (const sealed of [true, false]) {
    it(`webhook, ${sealed ? 'sealed and signed' : 'by token'}: its question, proof of origin, repetition, both forms of events, restart`, async () => {
      const port = await freePort()
      const server = { port, public_url: `http://127.0.0.1:${port}` }
      const encrypt_key = 'known-to-both'
      const account = { mode: 'webhook', verification_token: 'token-known-to-both', ...(sealed ? { encrypt_key } : {}) }
      const emulator = { verification_token: 'token-known-to-both', ...(sealed ? { encrypt_key } : {}) }
      await inScene({ server, account, emulator }, async ({ story, feishu, posthouse }) => {
        const url = `${posthouse.url}/api/webhook/feishu`
        await feishu.subscribe(url)
        const ann = story.user('ann')
        const greeting = ann.says('hi')
        await ann.hears('You said: hi')
        greeting.repeat()
        feishu.say({ text: 'in the older form', form: 'v1', from: ann.id })
        await ann.hears('You said: in the older form')
        const forged = JSON.stringify({
          schema: '2.0',
          header: { app_id: feishu.app_id, token: 'guess', event_id: 'x', event_type: 'im.message.receive_v1' },
          event: {},
        })
        for (const body of [forged, '{}', '{"encrypt":"AAAA"}', '['.repeat(10_000)]) {
          const response = await fetch(url, {
            method: 'POST',
            body,
            headers: { 'content-type': 'application/json', 'x-lark-signature': '0'.repeat(64) },
          })
          assert.equal(response.status, 401)
        }
        await posthouse.kill()
        ann.says('are you there?')
        await posthouse.start()
        await ann.hears('You said: are you there?')
        await ann.hearsNothingMore()
        assert.equal(feishu.connections, 0)
      })
    })
  }
})
