/** People in DingTalk, as stories: a real gateway process between the emulated platform and an emulated model server. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  createDingtalkEmulator,
  createModelEmulator,
  createStory,
  type DingtalkEmulator,
  type DingtalkEmulatorOptions,
  type DingtalkPost,
  dingtalkStage,
  type ModelEmulator,
  type ModelPace,
  type Story,
} from '@posthouse/testkit'
import { freePort } from '../ports.ts'
import { createPosthouse, type Posthouse, until } from './posthouse.ts'

interface Scene {
  readonly dingtalk: DingtalkEmulator
  readonly model: ModelEmulator
  readonly posthouse: Posthouse
  readonly story: Story<DingtalkPost, string>
  /** What `posthouse ... --json` says. */
  cli<T>(...args: string[]): Promise<T>
}

interface SceneOptions {
  readonly account?: object
  /** Answers grow in cards. */
  readonly cards?: boolean
  readonly server?: object
  readonly pace?: ModelPace
  readonly emulator?: DingtalkEmulatorOptions
  /** Codes with which DingTalk is expected to refuse a call. */
  readonly refusals?: readonly string[]
}

/** The model says back what it was told, or what `replies` holds for it. */
async function inScene(options: SceneOptions, play: (scene: Scene) => Promise<void>): Promise<void> {
  await using dingtalk = await createDingtalkEmulator({ retryDelay: 100, maxRetryDelay: 500, ...options.emulator })
  await using model = await createModelEmulator({ keys: 'any', models: 'any', ...(options.pace ? { pace: options.pace } : {}) })
  const { client_id, client_secret, card_template_id, url } = dingtalk
  const account = {
    client_id,
    client_secret,
    base_url: url,
    old_base_url: url,
    send_rate: 1000,
    room_send_rate: 1000,
    ...(options.cards ? { card_template_id } : {}),
    ...options.account,
  }
  await using posthouse = createPosthouse({
    ...(options.server ? { server: options.server } : {}),
    models: { primary: 'main', endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'main', vision: true } } },
    channels: { dingtalk: account },
  })
  const cli = async <T>(...args: string[]) => {
    const { code, stdout, stderr } = await posthouse.cli(...args, '--json')
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout) as T
  }
  const quiet = () => until(() => dingtalk.pending === 0 && posthouse.unsettled() === 0, 'everything is done')
  await posthouse.start()
  await play({ dingtalk, model, posthouse, cli, story: createStory(dingtalkStage(dingtalk), { quiet }) })
  const refused = dingtalk.ledger.flatMap(({ outcome: { code, body } }) => (code < 300 ? [] : [String((body as { code?: string }).code)]))
  assert.deepEqual(refused, options.refusals ?? [], 'what DingTalk refused')
}

const stages = (count: number) => Array.from({ length: count }, (_, index) => `stage ${index + 1}`).join(', ')
const callsOf = (dingtalk: DingtalkEmulator, name: string) => dingtalk.ledger.filter(({ method }) => method === name)
const SEND = 'robot.sendBySession'

describe('DingTalk', () => {
  it('private chat, group, somebody from outside, a message that comes twice', () =>
    inScene({}, async ({ story, model, dingtalk }) => {
      const ann = story.user('ann')
      const greeting = ann.says('hi')
      await ann.hears('You said: hi')
      greeting.repeat()
      const team = story.group('team')
      ann.in(team).says('does anybody want tea?')
      ann.in(team).says('@bot what is tea?')
      await team.hears('You said: ann: what is tea?')
      dingtalk.say({
        text: 'and coffee?',
        from: { staff: 'bob', nick: 'bob' },
        group: 'cid_group_team',
        answers: { msgId: 'm', text: 'x' },
      })
      await team.hears('You said: bob: and coffee?')
      const outsider = story.user('$:LWCP_v1:$cem')
      outsider.says('good day')
      await outsider.hears('You said: good day')
      await team.hearsNothingMore()
      await ann.hearsNothingMore()
      assert.ok(!JSON.stringify(model.calls).includes('anybody'), 'what was not meant for it reached the model')
      assert.equal(dingtalk.connections, 1)
      assert.equal(callsOf(dingtalk, SEND).length, 4)
    }))

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

  it('strangers are told their id, which then lets them in', () =>
    inScene({ account: { allowed_users: ['ann'] } }, async ({ story, model }) => {
      const bob = story.user('bob')
      bob.says('let me in')
      await bob.hears(/`?bob`?/)
      const ann = story.user('ann')
      ann.says('hi')
      await ann.hears('You said: hi')
      assert.ok(!JSON.stringify(model.calls).includes('let me in'))
    }))

  it('a picture, a document, words and pictures, a quoted picture', () =>
    inScene({}, async ({ story, model, dingtalk }) => {
      const ann = story.user('ann')
      const picture = Buffer.from('89504e470d0a1a0a0000000d', 'hex')
      dingtalk.say({ picture, from: 'ann' })
      await until(() => model.calls.some(({ question }) => question?.images === 1), 'the model sees the picture')
      await ann.hears(() => true)
      dingtalk.say({ rich: ['what is ', picture, 'this?'], from: 'ann' })
      await until(() => model.calls.some(({ question }) => question?.images === 2), 'the model sees both')
      await ann.hears(/what is this\?/)
      ann.says('sum it up', { document: { name: 'plan.txt', mime: 'text/plain', bytes: Buffer.from('Nine horses, 三匹白马.') } })
      await ann.hears(() => true)
      await until(
        () => model.calls.some(({ question }) => /plan\.txt[\s\S]*Nine horses, 三匹白马\./.test(JSON.stringify(question?.messages ?? ''))),
        'the model reads the document',
      )
    }))

  it('an answer grows in its card', () =>
    inScene({ cards: true, pace: { firstToken: 20, interval: 60, chunkSize: 4 } }, async ({ story, model, dingtalk }) => {
      model.reply(stages(40))
      const ann = story.user('ann')
      ann.says('the long road')
      await until(() => dingtalk.posted(ann.room).some(({ streaming, text }) => streaming && text.endsWith('…')), 'the preview')
      const post = await ann.hears(stages(40))
      assert.deepEqual([post.form, post.streaming], ['card', false])
      assert.ok(post.edits.length > 2, 'it grew')
      await ann.hearsNothingMore()
    }))

  it('without the right to make cards answers come whole', () =>
    inScene(
      {
        cards: true,
        pace: { firstToken: 20, interval: 30, chunkSize: 4 },
        refusals: Array.from({ length: 3 }, () => 'Forbidden.AccessDenied.AccessTokenPermissionDenied'),
      },
      async ({ story, model, dingtalk }) => {
        dingtalk.withdraw('Card.Instance.Write')
        model.reply(stages(60))
        const ann = story.user('ann')
        ann.says('the long road')
        const post = await ann.hears(stages(60))
        assert.equal(post.form, 'markdown')
        await ann.hearsNothingMore()
      },
    ))

  it('kill -9 in mid-answer: one answer, in its card', () =>
    inScene({ cards: true, pace: { firstToken: 20, interval: 60, chunkSize: 4 } }, async ({ story, model, posthouse, dingtalk }) => {
      model.reply(stages(40))
      const ann = story.user('ann')
      ann.says('the long road')
      await until(() => dingtalk.posted(ann.room).some(({ edits }) => edits.length > 0), 'the preview grows')
      await posthouse.kill()
      model.setPace({})
      // What is handed over to a dead connection comes never again: the platform must have seen its end.
      await until(() => dingtalk.connections === 0, 'the connection is over')
      ann.says('are you there?')
      await posthouse.start()
      const post = await ann.hears(stages(40))
      assert.deepEqual([post.form, post.streaming], ['card', false])
      await ann.hears(stages(40))
      await ann.hearsNothingMore()
      assert.equal(dingtalk.posted(ann.room).length, 2)
    }))

  it('a long answer with all kinds of formatting arrives whole', () =>
    inScene({}, async ({ story, model, dingtalk }) => {
      const all = Array.from({ length: 9000 }, (_, index) => `w${index}`)
      const markdown = [
        '# Stages <of> & the road',
        all.slice(0, 4000).join(' '),
        `- **bold ${all[4000]}** and *slanted*\n- [a link](https://example.com/?a=1&b=2) with \`co<de>\`\n- ~~gone~~ snake_case_name * 2 ** 3`,
        `\`\`\`ts\n${all
          .slice(4001, 7000)
          .map((word) => `let ${word} = a < b && c > d`)
          .join('\n')}\n\`\`\``,
        '| stage | horses |\n| --- | --- |\n| one | **nine** |',
        `> ${all.slice(7000).join(' ')}`,
        '![picture](https://example.com/i.png) unclosed **bold and `code',
      ].join('\n\n')
      model.reply(markdown)
      const ann = story.user('ann')
      ann.says('everything')
      await until(() => dingtalk.posted(ann.room).some(({ text }) => text.includes('unclosed')), 'the end is there')
      const posted = dingtalk.posted(ann.room)
      assert.ok(posted.length > 3 && posted.every(({ title }) => title !== ''))
      assert.deepEqual(
        posted
          .map(({ text }) => text)
          .join('\n')
          .match(/\bw\d+\b/g),
        all,
      )
    }))

  it('a limit of calls is honoured, and the address of a question is left when it is over', () =>
    inScene({ refusals: ['Forbidden.AccessDenied.QpsLimitForApi'] }, async ({ story, dingtalk }) => {
      const ann = story.user('ann')
      dingtalk.failNext(SEND, { status: 300001, description: 'session 不存在' })
      dingtalk.failNext('robot.oToMessages.batchSend', { status: 403, description: 'Forbidden.AccessDenied.QpsLimitForApi', retryAfter: 1 })
      ann.says('hi')
      await ann.hears('You said: hi')
      const [refused, sent] = callsOf(dingtalk, 'robot.oToMessages.batchSend')
      assert.equal(refused?.outcome.code, 403)
      assert.ok((sent?.at ?? 0) - (refused?.at ?? 0) >= 1000, 'it was sent again too early')
      await ann.hearsNothingMore()
    }))

  it('an answer whose confirmation is lost is sent once more at most, and counted', () =>
    inScene({}, async ({ story, dingtalk, cli }) => {
      const ann = story.user('ann')
      dingtalk.dropReplyOf(SEND)
      ann.says('hi')
      await ann.hears('You said: hi')
      await until(async () => (await cli<{ unsent: number }>('status')).unsent === 0, 'it is settled')
      const { maybeDuplicates } = await cli<{ maybeDuplicates: number }>('status')
      assert.equal(dingtalk.posted(ann.room).length, 1 + maybeDuplicates)
      assert.ok(maybeDuplicates <= 1)
    }))

  it('a connection that ends by notice is replaced unseen; one that is cut is told', () =>
    inScene({ emulator: { notice: 300 } }, async ({ story, dingtalk, posthouse }) => {
      await until(() => dingtalk.connections === 1, 'it is connected')
      const ann = story.user('ann')
      for (let turn = 1; turn <= 3; turn++) {
        dingtalk.dismiss()
        ann.says(`message ${turn}`)
        await ann.hears(`You said: message ${turn}`)
      }
      const told = () => posthouse.log.some((line) => line.includes('"state":"degraded"'))
      assert.ok(!told(), 'nobody is to be troubled by that')
      dingtalk.cut()
      ann.says('are you there?')
      await ann.hears('You said: are you there?')
      assert.equal(dingtalk.attempts.filter(({ status }) => status !== 200).length, 0)
    }))

  it('a secret that is not accepted any more is told, and named', () =>
    inScene({ refusals: ['authFailed'] }, async ({ dingtalk, posthouse }) => {
      await until(() => dingtalk.connections === 1, 'it is connected')
      dingtalk.revoke()
      await until(() => posthouse.log.some((line) => line.includes('"state":"needs-auth"') && line.includes('client_secret')), 'it is told')
      assert.ok(!posthouse.log.some((line) => line.includes(dingtalk.client_secret)), 'the secret is in the log')
    }))

  it('webhook: proof of origin, repetition, sealed events, restart', async () => {
    const port = await freePort()
    const server = { port, public_url: `http://127.0.0.1:${port}` }
    const keys = { token: 'token-known-to-both', aes_key: 'knownToBothabcdefghijklmnopqrstuvwxyz012345' }
    await inScene({ server, account: { mode: 'webhook', ...keys }, emulator: keys }, async ({ story, dingtalk, posthouse }) => {
      const url = `${posthouse.url}/api/webhook/dingtalk`
      dingtalk.subscribe(url)
      await dingtalk.subscribeEvents(url)
      const ann = story.user('ann')
      const greeting = ann.says('hi')
      await ann.hears('You said: hi')
      greeting.repeat()
      dingtalk.emit('chat_update_title', { Title: 'x' })
      const forged = JSON.stringify({
        msgId: 'x',
        senderStaffId: 'ann',
        conversationType: '1',
        msgtype: 'text',
        text: { content: 'forged' },
      })
      for (const body of [forged, '{}', '{"encrypt":"AAAA"}', '['.repeat(10_000)]) {
        const headers = { 'content-type': 'application/json', timestamp: String(Date.now()), sign: Buffer.alloc(32).toString('base64') }
        assert.equal((await fetch(url, { method: 'POST', body, headers })).status, 401)
      }
      await until(() => dingtalk.pending === 0, 'all that was real is taken')
      await posthouse.kill()
      await posthouse.start()
      ann.says('are you there?')
      await ann.hears('You said: are you there?')
      await ann.hearsNothingMore()
      assert.equal(dingtalk.connections, 0)
    })
  })

  it('webhook: a button of a card is told by a call, through the gateway’s own door', async () => {
    const port = await freePort()
    const server = { port, public_url: `http://127.0.0.1:${port}` }
    const pace: ModelPace = { firstToken: 20, interval: 60, chunkSize: 4 }
    await inScene({ server, account: { mode: 'webhook' }, cards: true, pace }, async ({ story, model, dingtalk, posthouse }) => {
      dingtalk.subscribe(`${posthouse.url}/api/webhook/dingtalk`)
      await until(() => callsOf(dingtalk, 'card.callbacks.register').length === 1, 'the address for buttons is registered')
      model.reply(({ text }) => (text === 'the long road' ? stages(30) : `You said: ${text}`))
      const ann = story.user('ann')
      ann.says('the long road')
      const card = await ann.hears(stages(30))
      assert.equal(card.form, 'card')
      dingtalk.press(card.id, { data: 'again' })
      await until(() => dingtalk.pending === 0, 'the press is taken')
      const { status } = await fetch(`${posthouse.url}/api/webhook/dingtalk`, {
        method: 'POST',
        headers: { 'x-ddpaas-signature': 'AAAA', 'x-ddpaas-signature-timestamp': String(Date.now()) },
        body: '{}',
      })
      assert.equal(status, 401)
    })
  })

  it('a group robot says what it is told to say, and hears nothing', async () => {
    await using dingtalk = await createDingtalkEmulator()
    await using model = await createModelEmulator({ keys: 'any', models: 'any' })
    const { access_token, secret, url: old_base_url } = dingtalk
    await using posthouse = createPosthouse({
      models: { primary: 'main', endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'main' } } },
      channels: { builds: { type: 'dingtalk', mode: 'robot', access_token, secret, old_base_url } },
    })
    await posthouse.start()
    const { code, stderr } = await posthouse.cli('send', 'builds', 'group', '**The build** is green')
    assert.equal(code, 0, stderr)
    await dingtalk.waitForPosted(({ room, text }) => room === 'group-robot' && text === 'The build is green')
    for (const hidden of [access_token, secret]) assert.ok(!posthouse.log.some((line) => line.includes(hidden)), 'a secret is in the log')
  })
})
