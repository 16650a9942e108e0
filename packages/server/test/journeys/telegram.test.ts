/** People in Telegram, as stories: a real gateway process between the emulated platform and an emulated model server. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  createModelEmulator,
  createStory,
  createTelegramEmulator,
  type ModelEmulator,
  type ModelPace,
  type PostedMessage,
  type Story,
  type TelegramEmulator,
  telegramStage,
} from '@posthouse/testkit'
import { preloading } from '../chaos/preload/edit.ts'
import { freePort } from '../ports.ts'
import { createPosthouse, type Posthouse, until } from './posthouse.ts'

interface Scene {
  readonly telegram: TelegramEmulator
  readonly model: ModelEmulator
  readonly posthouse: Posthouse
  readonly story: Story<PostedMessage>
  /** Saves a configuration in which these people may write, while the gateway runs. */
  allow(...names: string[]): void
  /** What `posthouse ... --json` says. */
  cli<T>(...args: string[]): Promise<T>
}

interface SceneOptions {
  readonly account?: object
  readonly assistant?: object
  readonly server?: object
  readonly pace?: ModelPace
  readonly env?: NodeJS.ProcessEnv
  /** Names of the people who may write; everybody unless given. */
  readonly allowed?: readonly string[]
  /** Calls that Telegram is expected to refuse as wrong. */
  readonly refusals?: readonly string[]
}

/** Two endpoints, one of which sees pictures; the model says back what it was told, or what `replies` holds for it. */
async function inScene(options: SceneOptions, play: (scene: Scene) => Promise<void>): Promise<void> {
  await using telegram = await createTelegramEmulator()
  await using model = await createModelEmulator({ keys: 'any', models: 'any', ...(options.pace ? { pace: options.pace } : {}) })
  const stage = telegramStage(telegram)
  const endpoint = (name: string, more: object = {}) => ({ api: 'openai', base_url: `${model.url}/v1`, model: name, ...more })
  const configOf = (allowed: readonly string[] | undefined) => ({
    ...(options.server ? { server: options.server } : {}),
    models: {
      primary: 'main',
      fallback: ['spare'],
      endpoints: { main: endpoint('main'), spare: endpoint('spare'), seer: endpoint('seer', { vision: true }) },
    },
    channels: {
      telegram: {
        token: telegram.token,
        api_root: telegram.url,
        send_rate: 1000,
        room_send_rate: 1000,
        ...(allowed ? { allowed_users: allowed.map((name) => stage.idOf(name)) } : {}),
        ...options.account,
      },
    },
    ...(options.assistant ? { assistant: options.assistant } : {}),
  })
  await using posthouse = createPosthouse(configOf(options.allowed))
  const cli = async <T>(...args: string[]) => {
    const { code, stdout, stderr } = await posthouse.cli(...args, '--json')
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout) as T
  }
  const quiet = () =>
    until(async () => {
      if (telegram.pending > 0) return false
      const { waiting, unsent } = await cli<{ waiting: number; unsent: number }>('status')
      return waiting + unsent === 0
    }, 'everything is done')
  await posthouse.start(options.env)
  const allow = (...names: string[]) => posthouse.configure(configOf(names))
  await play({ telegram, model, posthouse, cli, allow, story: createStory(stage, { quiet }) })
  const refused = telegram.ledger.filter(({ outcome }) => outcome.code === 400).map(({ outcome }) => outcome.description)
  assert.deepEqual(refused, options.refusals ?? [], 'what Telegram refused')
}

/** So slow that it ends only when somebody acts. */
const endless: ModelPace = { firstToken: 20, interval: 60, chunkSize: 2 }
const stages = (count: number) => Array.from({ length: count }, (_, index) => `stage ${index + 1}`).join(', ')
const allTaken = (telegram: TelegramEmulator) => until(() => telegram.pending === 0, 'every update is taken')
const sendsOf = (telegram: TelegramEmulator) => telegram.ledger.filter(({ method }) => method === 'sendMessage')

describe('Telegram', () => {
  it('private chat, group, topic', () =>
    inScene({}, async ({ story, model, telegram }) => {
      const ann = story.user('ann')
      const greeting = ann.says('hi')
      await ann.hears('You said: hi')
      greeting.repeat()
      const team = story.group('team')
      ann.in(team).says('does anybody want tea?')
      ann.in(team).says('@emulated_bot what is tea?')
      const answer = await team.hears('You said: ann: what is tea?')
      assert.ok(answer.reply_to, 'in a group an answer refers to its question')
      story.user('bob').in(team).says('and coffee?', { answers: answer })
      await team.hears('You said: bob: and coffee?')
      const topic = team.topic(7)
      ann.in(topic).says('@emulated_bot in here')
      await topic.hears('You said: ann: in here')
      await team.hearsNothingMore()
      await ann.hearsNothingMore()
      assert.ok(!JSON.stringify(model.calls).includes('anybody'), 'what was not meant for it reached the model')
      assert.ok(telegram.ledger.some(({ method }) => method === 'getUpdates'))
    }))

  it('photo with a caption, a document, a file that is too large', () =>
    inScene({ allowed: ['ann'], refusals: ['Bad Request: file is too big'] }, async ({ story, model, posthouse, telegram }) => {
      const ann = story.user('ann')
      ann.says('/model seer')
      await ann.hears('From now on this conversation uses seer.')
      ann.says('what is on it?', { photo: { bytes: Buffer.from('ffd8ffe000104a46494600', 'hex') } })
      await ann.hears('You said: what is on it?')
      const seen = model.calls.at(-1)?.question
      assert.deepEqual([seen?.model, seen?.images], ['seer', 1])
      ann.says('sum it up', { document: { name: 'plan.txt', mime: 'text/plain', bytes: Buffer.from('Nine horses, 三匹白马.') } })
      await ann.hears(/^You said: sum it up/)
      assert.match(model.calls.at(-1)?.question?.text ?? '', /plan\.txt[\s\S]*Nine horses, 三匹白马\./)
      ann.says('and this?', { document: { name: 'film.bin', size: 21 * 1024 * 1024 } })
      await ann.hears(/film\.bin could not be read[\s\S]*You said: and this\?/)
      await ann.hearsNothingMore()
      // A picture that waited through a crash is fetched when the account is open again.
      const fetched = () => telegram.ledger.filter(({ method }) => method === 'getFile').length
      const before = fetched()
      telegram.delay('getFile', 60_000)
      ann.says('and on that?', { photo: { bytes: Buffer.from('ffd8ffe000104a46494600', 'hex') } })
      await until(() => fetched() > before, 'the picture is asked for')
      await posthouse.kill()
      telegram.delay('getFile', 0)
      await posthouse.start()
      await ann.hears('You said: and on that?')
      await ann.hearsNothingMore()
    }))

  it('/help, /model, /new', () =>
    inScene({ allowed: ['ann'] }, async ({ story, model, cli }) => {
      const ann = story.user('ann')
      ann.says('/help')
      await ann.hears(/\/new begins a new conversation/)
      ann.says('/model')
      await ann.hears(/uses main\. Available: main, spare, seer/)
      ann.says('/model nobody')
      await ann.hears(/no model named "nobody"/)
      ann.says('/model spare')
      await ann.hears('From now on this conversation uses spare.')
      ann.says('remember the grey horse')
      await ann.hears('You said: remember the grey horse')
      assert.equal(model.calls.at(-1)?.question?.model, 'spare')
      ann.says('which horse?')
      await ann.hears('You said: which horse?')
      assert.match(JSON.stringify(model.calls.at(-1)?.question?.messages), /grey horse/)
      ann.says('/new')
      await ann.hears(/^A new conversation begins/)
      ann.says('which horse now?')
      await ann.hears('You said: which horse now?')
      assert.doesNotMatch(JSON.stringify(model.calls.at(-1)?.question?.messages), /grey horse/)
      // Switched for all from outside, without a restart; a conversation's own choice goes before it.
      await cli('model', 'switch', 'seer')
      await until(
        async () => (await cli<{ id: string; current: boolean }[]>('model', 'list')).some(({ id, current }) => id === 'seer' && current),
        'seer is chosen',
      )
      ann.says('/stop')
      await ann.hears('Stopped.')
      await ann.hearsNothingMore()
    }))

  it('/stop in mid-answer closes the call to the provider and keeps what is there', () =>
    inScene({ pace: endless }, async ({ story, model }) => {
      model.reply(stages(300))
      const ann = story.user('ann')
      ann.says('the long road')
      await ann.beginsToHear(/^stage 1, stage 2, .*…$/)
      const said = Date.now()
      ann.says('/stop')
      const call = await model.waitForCall(({ ended }) => ended?.how === 'client-closed')
      const took = (call.ended?.at ?? 0) - said
      assert.ok(took < 300, `the provider's call was closed ${took} ms after the command`)
      const partial = await ann.hears(/^stage 1, stage 2, [^…]* ⏹$/)
      assert.ok(stages(300).startsWith(partial.text.slice(0, -2).trimEnd()), partial.text)
      await ann.hears('Stopped.')
      await ann.hearsNothingMore()
    }))

  it('/stop reaches what did not begin yet', () =>
    inScene({ pace: endless }, async ({ story, model, telegram }) => {
      model.reply(stages(300))
      const ann = story.user('ann')
      // In one batch: the command is there before the first turn is.
      for (const text of ['the long road', '/stop']) ann.says(text)
      await ann.hears('Stopped.')
      // Behind a running answer: both end.
      ann.says('the next road')
      await model.waitForCall(({ question, chunks }) => question?.text.endsWith('the next road') === true && chunks > 0)
      for (const text of ['and one more', '/stop']) ann.says(text)
      await ann.hears(/⏹$/)
      await ann.hears('Stopped.')
      ann.says('/help')
      await ann.hears(/begins a new conversation/)
      await ann.hearsNothingMore()
      assert.ok(model.calls.every(({ ended }) => ended?.how === 'client-closed'))
      assert.equal(telegram.pending, 0)
    }))

  it('an edited message before its answer', () =>
    inScene({}, async ({ story, model, telegram }) => {
      model.reply(({ text }) => (text === 'wait' ? { text: stages(12), interval: 60, chunkSize: 4 } : `You said: ${text}`))
      const ann = story.user('ann')
      ann.says('wait')
      await model.waitForCall(({ chunks }) => chunks > 0)
      const question = ann.says('to Luoyang')
      await allTaken(telegram)
      question.change('to Chang’an')
      await allTaken(telegram)
      await ann.hears(stages(12))
      await ann.hears('You said: to Chang’an')
      question.change('to Kaifeng')
      await ann.hearsNothingMore()
      ann.says('where to?')
      await ann.hears('You said: where to?')
      assert.match(JSON.stringify(model.calls.at(-1)?.question?.messages), /to Kaifeng/)
    }))

  it('strangers are told once, then met with silence', () =>
    inScene({ allowed: ['ann'] }, async ({ story, model, posthouse, allow }) => {
      const [ann, bob] = [story.user('ann'), story.user('bob')]
      bob.says('hello?')
      await bob.hears(new RegExp(`^Access denied\\. Your id here is ${bob.id};`))
      for (const text of ['let me in', '/model spare', '/help', '/stop']) bob.says(text)
      await bob.hearsNothingMore()
      assert.equal(model.calls.length, 0)
      ann.says('hello')
      await ann.hears('You said: hello')
      // In a group, at the same moment: each has an outcome of their own.
      const team = story.group('team')
      model.setPace({ firstToken: 300 })
      for (const [person, text] of [
        [ann, 'first'],
        [bob, 'do as I say'],
        [ann, 'second'],
        [bob, 'obey'],
      ] as const) {
        person.in(team).says(`@emulated_bot ${text}`)
      }
      await team.hears('You said: ann: first')
      await team.hears('You said: ann: second')
      await team.hearsNothingMore()
      assert.doesNotMatch(JSON.stringify(model.calls), /do as I say|obey/)
      const changes = () => posthouse.log.filter((line) => line.includes('the changed configuration was taken over')).length
      // The first is that of the start: the free port that was found.
      await until(() => changes() > 0, 'the first change')
      const before = changes()
      allow('bob')
      await until(() => changes() > before, 'the change is taken over')
      bob.says('and now?')
      // What was refused is no part of the conversation.
      await bob.hears('You said: and now?')
      ann.says('and I?')
      await ann.hears(/^Access denied/)
    }))

  for (const burst of ['coalesce', 'one-by-one'] as const) {
    it(`a burst, ${burst}`, () =>
      inScene({ assistant: { burst } }, async ({ story, model, telegram }) => {
        model.reply(({ text }) => (text === 'first' ? { text: 'One.', firstToken: 700 } : `You said: ${text}`))
        const [ann, bob] = [story.user('ann'), story.user('bob')]
        ann.says('first')
        await model.waitForCall(() => true)
        for (const text of ['second', 'third', 'fourth']) ann.says(text)
        bob.says('meanwhile')
        await bob.hears('You said: meanwhile')
        await allTaken(telegram)
        assert.equal(telegram.posted(ann.room).length, 0, 'another conversation had to wait')
        await ann.hears('One.')
        if (burst === 'coalesce') await ann.hears('You said: second\nthird\nfourth')
        else for (const text of ['second', 'third', 'fourth']) await ann.hears(`You said: ${text}`)
        await ann.hearsNothingMore()
      }))
  }

  it('a long answer with all kinds of formatting arrives whole', () =>
    inScene({}, async ({ story, model, telegram }) => {
      const words = Array.from({ length: 2500 }, (_, index) => `w${index}`)
      const markdown = [
        '# Stages <of> & the road',
        words.slice(0, 1000).join(' '),
        `- **bold ${words[1000]}** and *slanted*\n- [a link](https://example.com/?a=1&b=2) with \`co<de>\`\n- ~~gone~~ snake_case_name * 2 ** 3`,
        `\`\`\`ts\n${words
          .slice(1001, 2200)
          .map((word) => `let ${word} = a < b && c > d`)
          .join('\n')}\n\`\`\``,
        '| stage | horses |\n| --- | --- |\n| one | **nine** |',
        `> ${words.slice(2200).join(' ')}`,
        'unclosed **bold and `code',
      ].join('\n\n')
      model.reply(markdown)
      const ann = story.user('ann')
      ann.says('everything')
      await until(() => telegram.posted(ann.room).some(({ text }) => text.includes('unclosed')), 'the end is there')
      const posted = telegram.posted(ann.room)
      assert.ok(posted.length > 3 && posted.every(({ text }) => text.length <= 4096))
      assert.deepEqual(
        posted
          .map(({ text }) => text)
          .join('\n')
          .match(/\bw\d+\b/g),
        words,
      )
      const kinds = new Set(posted.flatMap(({ entities }) => entities.map(({ type }) => type)))
      for (const kind of ['bold', 'italic', 'text_link', 'code', 'pre', 'strikethrough', 'blockquote'])
        assert.ok(kinds.has(kind as never), kind)
    }))

  it('429 is honoured', () =>
    inScene({}, async ({ story, telegram }) => {
      const ann = story.user('ann')
      telegram.failNext('sendMessage', { status: 429, description: 'Too Many Requests: retry after 1', retryAfter: 1 })
      ann.says('hi')
      await ann.hears('You said: hi')
      const [refused, sent] = sendsOf(telegram)
      assert.equal(refused?.outcome.code, 429)
      assert.ok((sent?.at ?? 0) - (refused?.at ?? 0) >= 1000, 'it was sent again too early')
      await ann.hearsNothingMore()
    }))

  it('a long answer shows no preview before the answer that is still on its way', () =>
    inScene({ pace: { firstToken: 20, interval: 250, chunkSize: 8 }, assistant: { burst: 'one-by-one' } }, async ({ story, telegram }) => {
      const ann = story.user('ann')
      telegram.failNext('sendMessage', { status: 429, description: 'Too Many Requests: retry after 4', retryAfter: 4 })
      const long = 'the road goes on and the horses are fresh and on it goes'
      ann.says('hi')
      ann.says(long)
      await ann.hears('You said: hi')
      await ann.hears(`You said: ${long}`)
      assert.deepEqual(
        telegram.posted().map(({ text }) => text),
        ['You said: hi', `You said: ${long}`],
      )
    }))

  it('an answer whose confirmation is lost comes at most twice, and that is marked', () =>
    inScene({}, async ({ story, telegram, cli }) => {
      const ann = story.user('ann')
      telegram.dropReplyOf('sendMessage')
      ann.says('hi')
      await ann.hears('You said: hi')
      await ann.hears('You said: hi')
      await ann.hearsNothingMore()
      assert.equal((await cli<{ maybeDuplicates: number }>('status')).maybeDuplicates, 1)
      telegram.dropReplyOf('sendMessage', 2)
      ann.says('ho')
      await ann.hears('You said: ho')
      await ann.hears('You said: ho')
      await ann.hearsNothingMore()
      const { dead } = await cli<{ dead: { reason: string; text: string }[] }>('dead', 'list')
      assert.deepEqual(
        dead.map(({ reason, text }) => [reason, text]),
        [['unknown', 'You said: ho']],
      )
    }))

  it('a model that fails in mid-answer is relieved by the next: one answer', () =>
    inScene({ pace: { firstToken: 20, interval: 20, chunkSize: 4 } }, async ({ story, model }) => {
      model.reply(stages(20))
      model.failNext({ kind: 'reset', after: 8, model: 'main' })
      const ann = story.user('ann')
      ann.says('go on')
      await ann.hears(stages(20))
      assert.deepEqual(
        model.calls.map(({ question }) => question?.model),
        ['main', 'spare'],
      )
      await ann.hearsNothingMore()
    }))

  it('no model answers: a notice, and the next question is answered', () =>
    inScene({}, async ({ story, model }) => {
      model.failNext({ kind: 'status', status: 500, times: 2 })
      const ann = story.user('ann')
      ann.says('anybody there?')
      await ann.hears(/^No model could answer just now/)
      ann.says('and now?')
      // The question without an answer is still a part of the conversation.
      await ann.hears('You said: anybody there?\nand now?')
      await ann.hearsNothingMore()
    }))

  it('a message that kills the process three times is set aside, and nobody else suffers', () =>
    inScene({ env: killer }, async ({ story, model, posthouse, telegram, cli }) => {
      model.reply(({ text }) => (text.startsWith('the long') ? { text: stages(10), firstToken: 500 } : `You said: ${text}`))
      const [ann, bob, cem] = [story.user('ann'), story.user('bob'), story.user('cem')]
      bob.says('the long road')
      await model.waitForCall(() => true)
      ann.says('a cup of arsenic')
      ann.says('and then a tea')
      for (let crash = 1; crash <= 3; crash++) {
        await posthouse.exited()
        if (crash === 1) cem.says('good day')
        // It may die again before it says that it runs.
        await posthouse.start(killer).catch(() => {})
      }
      await ann.hears(/could not be worked on: it failed three times/)
      await ann.hears('You said: and then a tea')
      assert.doesNotMatch(JSON.stringify(model.calls), /arsenic/)
      await bob.hears(stages(10))
      await cem.hears('You said: good day')
      // A send that was under way in a crash may have been made twice, and is marked then.
      const { maybeDuplicates } = await cli<{ maybeDuplicates: number }>('status')
      assert.ok(telegram.posted().length <= 4 + maybeDuplicates, JSON.stringify(telegram.posted().map(({ text }) => text)))
      const { dead } = await cli<{ dead: { reason: string; text: string }[] }>('dead', 'list')
      assert.deepEqual(
        dead.map(({ reason, text }) => [reason, text]),
        [['quarantined', 'a cup of arsenic']],
      )
    }))

  it('what is too old waits for an operator: posthouse dead list, retry, drop', () =>
    inScene({}, async ({ story, model, posthouse, cli }) => {
      const ann = story.user('ann')
      const at = Date.now() - 2 * 3_600_000
      ann.says('yesterday', { at })
      ann.says('the day before', { at })
      await ann.hearsNothingMore()
      assert.equal(model.calls.length, 0)
      const list = async () => (await cli<{ dead: { id: string; reason: string; text: string }[] }>('dead', 'list')).dead
      await until(async () => (await list()).length > 0, 'a dead letter')
      for (const { text, reason, id } of await list()) {
        assert.equal(reason, 'stale')
        await cli('dead', text === 'yesterday' ? 'retry' : 'drop', id)
      }
      await ann.hears('You said: yesterday')
      await ann.hearsNothingMore()
      assert.deepEqual(await list(), [])
      assert.equal((await posthouse.cli('dead', 'retry', 'nothing')).code, 1)
    }))

  it('webhook: proof of origin, repetition, restart', async () => {
    const port = await freePort()
    const server = { port, public_url: `http://127.0.0.1:${port}` }
    await inScene({ server, account: { mode: 'webhook', secret_token: 'known-to-both' } }, async ({ story, telegram, posthouse }) => {
      await until(() => telegram.webhook !== undefined, 'the webhook is set')
      const ann = story.user('ann')
      const greeting = ann.says('hi')
      await ann.hears('You said: hi')
      greeting.repeat()
      const forged = {
        update_id: 1,
        message: { message_id: 5, date: 1, chat: { id: 66, type: 'private' }, from: { id: 66 }, text: 'forged' },
      }
      for (const headers of [{}, { 'x-telegram-bot-api-secret-token': 'guessed' }] as Record<string, string>[]) {
        const body = JSON.stringify(forged)
        const response = await fetch(`${posthouse.url}/api/webhook/telegram`, {
          method: 'POST',
          body,
          headers: { 'content-type': 'application/json', ...headers },
        })
        assert.equal(response.status, 401)
      }
      await posthouse.kill()
      ann.says('are you there?')
      await posthouse.start()
      await ann.hears('You said: are you there?')
      await ann.hearsNothingMore()
      assert.ok(!telegram.ledger.some(({ method }) => method === 'getUpdates'))
    })
  })

  it('a restart with an answer that waits to be sent', () =>
    inScene({}, async ({ story, telegram, posthouse, cli }) => {
      const ann = story.user('ann')
      telegram.failNext('sendMessage', { status: 429, description: 'Too Many Requests: retry after 3', retryAfter: 3 })
      ann.says('hi')
      await until(() => sendsOf(telegram).length === 1, 'the first attempt')
      await until(async () => (await cli<{ unsent: number }>('status')).unsent === 1, 'the answer waits')
      assert.equal(await posthouse.stop(), 0)
      await posthouse.start()
      await ann.hears('You said: hi')
      await ann.hearsNothingMore()
      assert.equal(sendsOf(telegram).length, 2)
      assert.equal((await cli<{ maybeDuplicates: number }>('status')).maybeDuplicates, 0)
    }))

  it('posthouse send', () =>
    inScene({ refusals: ['Bad Request: chat not found'] }, async ({ story, telegram, posthouse, cli }) => {
      const ann = story.user('ann')
      telegram.know(ann.room)
      await cli('send', 'telegram', String(ann.room), 'The **post** is here.')
      const post = await ann.hears('The post is here.')
      assert.deepEqual(
        post.entities.map(({ type }) => type),
        ['bold'],
      )
      // Without a running gateway it is promised, and sent when there is one.
      await posthouse.stop()
      await cli('send', 'telegram', String(ann.room), 'And more.')
      await posthouse.start()
      await ann.hears('And more.')
      await cli('send', 'telegram', '424242', 'Nobody lives here.')
      await ann.hearsNothingMore()
      const { dead } = await cli<{ dead: { reason: string }[] }>('dead', 'list')
      assert.deepEqual(
        dead.map(({ reason }) => reason),
        ['not-found'],
      )
    }))
})

const killer = preloading({}, 'poison')
