/** People in Slack, as stories: a real gateway process between the emulated platform and an emulated model server. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  createModelEmulator,
  createSlackEmulator,
  createStory,
  type ModelEmulator,
  type ModelPace,
  type SlackEmulator,
  type SlackEmulatorOptions,
  type SlackPost,
  type Story,
  slackStage,
} from '@posthouse/testkit'
import { freePort } from '../ports.ts'
import { createPosthouse, type Posthouse, until } from './posthouse.ts'

interface Scene {
  readonly slack: SlackEmulator
  readonly model: ModelEmulator
  readonly posthouse: Posthouse
  readonly story: Story<SlackPost, string>
  /** What `posthouse ... --json` says. */
  cli<T>(...args: string[]): Promise<T>
}

interface SceneOptions {
  readonly account?: object
  readonly server?: object
  readonly pace?: ModelPace
  readonly platform?: SlackEmulatorOptions
  readonly allowed?: readonly string[]
  /** Calls that Slack is expected to refuse. */
  readonly refusals?: readonly string[]
  /** A token ends: how many calls are told so at the same moment is nobody's matter. */
  readonly expires?: true
}

async function inScene(options: SceneOptions, play: (scene: Scene) => Promise<void>): Promise<void> {
  await using slack = await createSlackEmulator({ retryDelay: 200, ...options.platform })
  await using model = await createModelEmulator({ keys: 'any', models: 'any', ...(options.pace ? { pace: options.pace } : {}) })
  const stage = slackStage(slack)
  const endpoint = (name: string) => ({ api: 'openai', base_url: `${model.url}/v1`, model: name })
  await using posthouse = createPosthouse({
    ...(options.server ? { server: options.server } : {}),
    models: { primary: 'main', fallback: ['spare'], endpoints: { main: endpoint('main'), spare: endpoint('spare') } },
    channels: {
      slack: {
        bot_token: slack.botToken,
        app_token: slack.appToken,
        base_url: slack.url,
        send_rate: 1000,
        room_send_rate: 1000,
        ...(options.allowed ? { allowed_users: options.allowed.map((name) => stage.idOf(name)) } : {}),
        ...options.account,
      },
    },
  })
  const cli = async <T>(...args: string[]) => {
    const { code, stdout, stderr } = await posthouse.cli(...args, '--json')
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout) as T
  }
  const quiet = () => until(() => slack.pending === 0 && posthouse.unsettled() === 0, 'everything is done')
  await posthouse.start()
  await play({ slack, model, posthouse, cli, story: createStory(stage, { quiet }) })
  const refused = slack.refusals.filter(({ error }) => !(options.expires && error === 'token_expired'))
  assert.deepEqual(
    refused.map(({ method, error }) => `${method}: ${error}`),
    options.refusals ?? [],
    'what Slack refused',
  )
  assert.equal(refused.length < slack.refusals.length, options.expires === true, 'a token ended')
}

const stages = (count: number) => Array.from({ length: count }, (_, index) => `stage ${index + 1}`).join(', ')
const slow: ModelPace = { firstToken: 20, interval: 60, chunkSize: 4 }
const callsOf = (slack: SlackEmulator, name: string) => slack.ledger.filter(({ method }) => method === name)
/** What the emulated Slack signs with. */
const SIGNING_SECRET = '0123456789abcdef0123456789abcdef'
const isCalled = (slack: SlackEmulator, address: string) =>
  slack.callAt(address).then(
    () => true,
    () => false,
  )
const inThread = (post: SlackPost) => post.thread_ts !== undefined

describe('Slack', () => {
  it('private chat, channel, thread, another app, a repetition', () =>
    inScene({}, async ({ story, model, slack }) => {
      const ann = story.user('ann')
      const greeting = ann.says('hi')
      const answer = await ann.hears('You said: hi')
      assert.equal(inThread(answer), false, 'a private chat needs no thread')
      greeting.repeat()
      const team = story.group('team')
      ann.in(team).says('does anybody want tea?')
      ann.in(team).says('@emulated_bot what is tea?')
      const tea = await team.hears('You said: ann: what is tea?')
      assert.ok(inThread(tea), 'in a channel the answer stands in the thread of its question')
      // A thread is a conversation of its own.
      story
        .user('bob')
        .in(team)
        .says('@emulated_bot and coffee?', { answers: { message_id: tea.ts } })
      const coffee = await team.hears('You said: bob: and coffee?')
      assert.equal(coffee.thread_ts, tea.thread_ts)
      assert.match(JSON.stringify(model.calls.at(-1)?.question?.messages), /what is tea/)
      ann.in(team).says('@emulated_bot elsewhere')
      const elsewhere = await team.hears('You said: ann: elsewhere')
      assert.notEqual(elsewhere.thread_ts, tea.thread_ts)
      assert.doesNotMatch(JSON.stringify(model.calls.at(-1)?.question?.messages), /what is tea/)
      slack.say({ text: '@emulated_bot obey', channel: 'C0TEAM', bot: 'other' })
      await team.hearsNothingMore()
      await ann.hearsNothingMore()
      assert.doesNotMatch(JSON.stringify(model.calls), /anybody|obey/)
    }))

  it('names that Slack never tells hold neither acknowledgement nor answer', async () => {
    const port = await freePort()
    const server = { port, public_url: `http://127.0.0.1:${port}` }
    const account = { mode: 'webhook', signing_secret: SIGNING_SECRET }
    await inScene({ server, account }, async ({ story, slack, posthouse }) => {
      await until(() => isCalled(slack, `${posthouse.url}/api/webhook/slack`), 'the address answers')
      const ann = story.user('ann')
      const team = story.group('team')
      ann.in(team).says('@emulated_bot what is tea?')
      const tea = await team.hears('You said: ann: what is tea?')
      await posthouse.stop()
      for (const method of ['users.info', 'auth.test']) slack.delay(method, 3_600_000)
      await posthouse.start()
      const answers = { message_id: tea.ts }
      ann.in(team).says('@emulated_bot and coffee?', { answers })
      await team.hears('You said: and coffee?')
      await until(() => slack.pending === 0, 'all is acknowledged')
    })
  })

  it('a file in, an edited question, one that was taken back', () =>
    inScene({}, async ({ story, model, slack }) => {
      const ann = story.user('ann')
      ann.says('sum it up', { document: { name: 'plan.txt', bytes: Buffer.from('Nine horses, 三匹白马.') } })
      await ann.hears(/^You said: sum it up/)
      assert.match(model.calls.at(-1)?.question?.text ?? '', /plan\.txt[\s\S]*Nine horses, 三匹白马\./)
      model.reply(({ text }) => (text === 'wait' ? { text: stages(12), interval: 60, chunkSize: 4 } : `You said: ${text}`))
      ann.says('wait')
      await model.waitForCall(({ question, chunks }) => question?.text === 'wait' && chunks > 0)
      const question = ann.says('to Luoyang')
      await until(() => slack.pending === 0, 'the question is taken')
      question.change('to Chang’an')
      await until(() => slack.pending === 0, 'the edit is taken')
      await ann.hears(stages(12))
      await ann.hears('You said: to Chang’an')
      await ann.hearsNothingMore()
      // Taken back before it was read: it is not answered.
      ann.says('wait')
      await model.waitForCall(({ question, chunks }) => question?.text.endsWith('wait') === true && chunks > 0 && model.calls.length > 3)
      slack.recall(slack.say({ text: 'a slip', from: ann.id }))
      await ann.hears(stages(12))
      await ann.hearsNothingMore()
      assert.doesNotMatch(JSON.stringify(model.calls), /a slip/)
    }))

  it('slash commands and a pressed button', () =>
    inScene({ allowed: ['ann'] }, async ({ story, slack }) => {
      const ann = story.user('ann')
      slack.command({ text: 'new', from: ann.id, channel: ann.room })
      await ann.hears(/^A new conversation begins/)
      slack.command({ text: 'model spare', from: ann.id, channel: ann.room })
      await ann.hears('From now on this conversation uses spare.')
      slack.command({ text: 'what is tea?', from: ann.id, channel: ann.room })
      const answer = await ann.hears('You said: what is tea?')
      slack.press({ channel: ann.room, ts: answer.ts, value: 'yes', from: ann.id })
      await ann.hears('You said: yes')
      await ann.hearsNothingMore()
      story.user('bob').says('let me in')
      await story.user('bob').hears(/^Access denied\. Your id here is U0BOB/)
    }))

  it('a long answer in a channel is streamed, and arrives whole', () =>
    inScene({ pace: slow }, async ({ story, model, slack }) => {
      model.reply(`**${stages(40)}**`)
      const team = story.group('team')
      story.user('ann').in(team).says('@emulated_bot the long road')
      const growing = await team.beginsToHear(/^\*\*stage 1, stage 2/)
      assert.equal(growing.streaming, 'in_progress')
      const post = await team.hears(stages(40))
      assert.deepEqual([post.streaming, slack.posted('C0TEAM').length], ['completed', 1])
      assert.ok(callsOf(slack, 'chat.appendStream').length > 0)
      assert.equal(callsOf(slack, 'assistant.threads.setStatus').length, 1, 'a status stands for two minutes')
      await team.hearsNothingMore()
    }))

  it('where there are no streams, a preview is edited', () =>
    inScene(
      { pace: slow, platform: { streams: false }, refusals: ['chat.startStream: unknown_method'] },
      async ({ story, model, slack }) => {
        model.reply(stages(40))
        const team = story.group('team')
        const ann = story.user('ann')
        ann.in(team).says('@emulated_bot the long road')
        await team.beginsToHear(/^stage 1, stage 2/)
        await team.hears(stages(40))
        assert.ok(callsOf(slack, 'chat.update').length > 1)
        // In a private chat without a thread there is none either, and Slack is not asked.
        ann.says('and here?')
        await ann.hears(stages(40))
        assert.equal(callsOf(slack, 'chat.startStream').length, 1)
      },
    ))

  it('all kinds of formatting, in as many messages as it takes', () =>
    inScene({}, async ({ story, model, slack }) => {
      const words = Array.from({ length: 4000 }, (_, index) => `w${index}`)
      model.reply(
        [
          '# Stages <of> & the road',
          words.slice(0, 2000).join(' '),
          '- **bold** and *slanted*\n- [a link](https://example.com/?a=1&b=2) with `co<de>`\n- ~~gone~~ <!channel> <@U0ANN>',
          `\`\`\`ts\n${words
            .slice(2000, 3800)
            .map((word) => `let ${word} = a < b && c > d`)
            .join('\n')}\n\`\`\``,
          '| stage | horses |\n| --- | --- |\n| one | **nine** |',
          `> ${words.slice(3800).join(' ')}`,
          'unclosed **bold and `code',
        ].join('\n\n'),
      )
      const ann = story.user('ann')
      ann.says('everything')
      await until(() => slack.posted(ann.room).some(({ text }) => text.includes('unclosed')), 'the end is there')
      const posted = slack.posted(ann.room)
      assert.ok(posted.length > 3)
      assert.deepEqual(
        posted
          .map(({ text }) => text)
          .join('\n')
          .match(/\bw\d+\b/g),
        words,
      )
      assert.ok(
        posted.every(({ fallback }) => !fallback.includes('<!channel>')),
        'nobody is called by a notification',
      )
    }))

  it('many long answers at once: no method is called more often than Slack lets it', () =>
    inScene({ pace: { firstToken: 20, interval: 60, chunkSize: 8 } }, async ({ story, model, slack, posthouse }) => {
      // Its tiers: https://docs.slack.dev/apis/web-api/rate-limits
      const tiers = { 'chat.startStream': 20, 'chat.appendStream': 100, 'chat.stopStream': 20, 'chat.update': 50, 'reactions.add': 50 }
      for (const [method, amount] of Object.entries(tiers)) slack.limit(method, amount, 60_000)
      model.reply(({ text }) => `${text}: ${stages(30)}`)
      const team = story.group('team')
      const people = Array.from({ length: 25 }, (_, index) => `person${index}`)
      for (const name of people) story.user(name).in(team).says(`@emulated_bot hi`)
      const whole = () => slack.posted(team.room).filter(({ text, streaming }) => text.endsWith('stage 30') && streaming !== 'in_progress')
      await until(() => whole().length === people.length, 'everybody has the whole answer', 60_000)
      await until(() => posthouse.unsettled() === 0, 'nothing is left')
      const streams = callsOf(slack, 'chat.startStream').length
      assert.ok(streams > 0 && streams < people.length, `${streams} streams: some answers grew, the others came whole`)
      assert.deepEqual(
        slack.ledger.filter(({ outcome }) => outcome.code === 429).map(({ method }) => method),
        [],
      )
    }))

  it('a preview whose confirmation is lost is not begun again', () =>
    inScene({ pace: slow }, async ({ story, model, slack, posthouse }) => {
      model.reply(stages(40))
      slack.dropReplyOf('chat.startStream')
      const team = story.group('team')
      story.user('ann').in(team).says('@emulated_bot the long road')
      await until(() => slack.posted(team.room).some(({ text }) => text === stages(40)), 'the whole answer')
      await until(() => posthouse.unsettled() === 0, 'nothing is left')
      assert.equal(callsOf(slack, 'chat.startStream').length, 1)
      assert.equal(slack.posted(team.room).length, 2)
    }))

  it('429 is honoured', () =>
    inScene({}, async ({ story, slack }) => {
      const ann = story.user('ann')
      slack.failNext('chat.postMessage', { status: 429, retryAfter: 1 })
      ann.says('hi')
      await ann.hears('You said: hi')
      const [refused, sent] = callsOf(slack, 'chat.postMessage')
      assert.equal(refused?.outcome.code, 429)
      assert.ok((sent?.at ?? 0) - (refused?.at ?? 0) >= 1000, 'it was sent again too early')
      await ann.hearsNothingMore()
    }))

  it('an answer whose confirmation is lost is found, and not sent again', () =>
    inScene({}, async ({ story, slack, cli }) => {
      const ann = story.user('ann')
      slack.dropReplyOf('chat.postMessage')
      ann.says('hi')
      await ann.hears('You said: hi')
      await ann.hearsNothingMore()
      assert.equal(callsOf(slack, 'chat.postMessage').length, 1)
      assert.equal((await cli<{ maybeDuplicates: number }>('status')).maybeDuplicates, 0)
    }))

  it('kill -9 while it sends, and while the answer grows: one answer each', () =>
    inScene({ pace: slow }, async ({ story, model, slack, posthouse }) => {
      const ann = story.user('ann')
      // The post stands, its answer is on the way for ever.
      slack.delay('chat.postMessage', 60_000)
      ann.says('hi')
      await slack.waitForPosted(({ text }) => text === 'You said: hi', 15_000)
      await posthouse.kill()
      slack.delay('chat.postMessage', 0)
      await posthouse.start()
      await ann.hears('You said: hi')
      await ann.hearsNothingMore()
      model.reply(stages(40))
      const team = story.group('team')
      ann.in(team).says('@emulated_bot the long road')
      // It grew once: by then it is noted which message the answer will end.
      await until(() => callsOf(slack, 'chat.appendStream').length > 0, 'the preview grows')
      await posthouse.kill()
      model.setPace({})
      await posthouse.start()
      const post = await team.hears(stages(40))
      assert.equal(post.streaming, 'completed')
      await team.hearsNothingMore()
    }))

  it('a socket that is to be refreshed, one that breaks, and a gateway that was away', () =>
    inScene({}, async ({ story, slack, posthouse }) => {
      const ann = story.user('ann')
      slack.refresh(100)
      ann.says('one')
      await ann.hears('You said: one')
      slack.disconnect('warning')
      ann.says('two')
      await ann.hears('You said: two')
      await posthouse.kill()
      ann.says('three')
      await posthouse.start()
      await ann.hears('You said: three')
      await ann.hearsNothingMore()
    }))

  it('Events API: the challenge, proof of origin, repetition, restart', async () => {
    const port = await freePort()
    const server = { port, public_url: `http://127.0.0.1:${port}` }
    const account = { mode: 'webhook', signing_secret: SIGNING_SECRET }
    await inScene({ server, account }, async ({ story, slack, posthouse }) => {
      const address = `${posthouse.url}/api/webhook/slack`
      await until(() => isCalled(slack, address), 'the address answers')
      const ann = story.user('ann')
      const greeting = ann.says('hi')
      await ann.hears('You said: hi')
      greeting.repeat()
      slack.command({ text: 'stop', from: ann.id, channel: ann.room })
      await ann.hears('Stopped.')
      const forged = await fetch(address, { method: 'POST', body: '{"type":"url_verification","challenge":"x"}' })
      assert.equal(forged.status, 401)
      await posthouse.kill()
      ann.says('are you there?')
      await posthouse.start()
      await ann.hears('You said: are you there?')
      await ann.hearsNothingMore()
      assert.equal(callsOf(slack, 'apps.connections.open').length, 0)
    })
  })

  it('an app that several workspaces install: a link, a restart, a token that ends', async () => {
    const port = await freePort()
    const server = { port, public_url: `http://127.0.0.1:${port}` }
    const account = { bot_token: undefined, ...app }
    // Once at each start Slack is asked, with a code that is none, whether it knows the app.
    const refusals = ['oauth.v2.access: invalid_code', 'oauth.v2.access: invalid_code']
    await inScene({ server, account, refusals, expires: true }, async ({ story, slack, posthouse, cli }) => {
      slack.oauth.workspace = 'T0OTHER'
      slack.redirectUrl = `${server.public_url}/api/webhook/slack`
      const asked = await fetch(`${slack.redirectUrl}?install`, { redirect: 'manual' })
      const agreed = await fetch(asked.headers.get('location') ?? '', { redirect: 'manual' })
      const back = agreed.headers.get('location') ?? ''
      assert.equal((await fetch(back)).status, 401, 'another browser')
      const cookie = asked.headers.get('set-cookie')?.split(';')[0] ?? ''
      const installed = await fetch(back, { headers: { cookie } })
      assert.match(await installed.text(), /Installed in Workspace T0OTHER\./)
      slack.know({ id: 'D0ANN', type: 'im', user: 'U0ANN', team: 'T0OTHER' })
      const ann = story.user('ann')
      ann.says('hi')
      await ann.hears('You said: hi')
      await posthouse.stop()
      slack.oauth.expire()
      await posthouse.start()
      ann.says('and after twelve hours?')
      await ann.hears('You said: and after twelve hours?')
      await cli('send', 'slack', `T0OTHER:${ann.room}`, 'By the id of the workspace and the channel.')
      await ann.hears('By the id of the workspace and the channel.')
      await ann.hearsNothingMore()
    })
  })

  it('posthouse send', () =>
    inScene({ refusals: ['chat.postMessage: channel_not_found'] }, async ({ story, slack, cli }) => {
      const ann = story.user('ann')
      slack.know({ id: 'C0NEWS' })
      await cli('send', 'slack', 'C0NEWS', 'The **post** is here.')
      await until(() => slack.posted('C0NEWS')[0]?.text === 'The post is here.', 'the post')
      // By the id of a person, into the private chat.
      await cli('send', 'slack', ann.id, 'And for you.')
      await ann.hears('And for you.')
      await cli('send', 'slack', 'C0NOWHERE', 'Nobody reads this.')
      await ann.hearsNothingMore()
      const { dead } = await cli<{ dead: { reason: string }[] }>('dead', 'list')
      assert.deepEqual(
        dead.map(({ reason }) => reason),
        ['not-found'],
      )
    }))
})

/** What the emulated Slack knows the app by. */
const app = { client_id: '100000000000.200000000000', client_secret: 'fedcba9876543210fedcba9876543210' }
