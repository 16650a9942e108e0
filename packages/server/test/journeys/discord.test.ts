/** People in Discord, as stories: a real gateway process between the emulated platform and an emulated model server. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  createDiscordEmulator,
  createModelEmulator,
  createStory,
  type DiscordEmulator,
  type DiscordEmulatorOptions,
  type DiscordMessage,
  discordStage,
  type ModelEmulator,
  type ModelPace,
  type Story,
} from '@posthouse/testkit'
import { freePort } from '../ports.ts'
import { createPosthouse, type Posthouse, until } from './posthouse.ts'

interface Scene {
  readonly discord: DiscordEmulator
  readonly model: ModelEmulator
  readonly posthouse: Posthouse
  readonly story: Story<DiscordMessage, string>
  readonly config: object
  /** What `posthouse ... --json` says. */
  cli<T>(...args: string[]): Promise<T>
}

interface SceneOptions {
  readonly account?: (discord: DiscordEmulator) => object
  readonly server?: object
  readonly pace?: ModelPace
  readonly emulator?: DiscordEmulatorOptions
  /** Codes with which Discord may refuse a call as wrong, each once. */
  readonly refusals?: readonly number[]
}

/** The model says back what it was told, or what `replies` holds for it. Discord must refuse nothing. */
async function inScene(options: SceneOptions, play: (scene: Scene) => Promise<void>): Promise<void> {
  await using discord = await createDiscordEmulator({ heartbeat: 200, identifyEvery: 0, ...options.emulator })
  await using model = await createModelEmulator({ keys: 'any', models: 'any', ...(options.pace ? { pace: options.pace } : {}) })
  const config = {
    ...(options.server ? { server: options.server } : {}),
    models: { primary: 'main', endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'main', vision: true } } },
    channels: {
      discord: { token: discord.token, base_url: discord.url, send_rate: 1000, room_send_rate: 1000, ...options.account?.(discord) },
    },
  }
  await using posthouse = createPosthouse(config)
  const cli = async <T>(...args: string[]) => {
    const { code, stdout, stderr } = await posthouse.cli(...args, '--json')
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout) as T
  }
  const quiet = () => until(() => discord.pending === 0 && posthouse.unsettled() === 0, 'everything is done')
  await posthouse.start()
  if (!options.server) await until(() => discord.connected === 1, 'the session is begun')
  await play({ discord, model, posthouse, cli, config, story: createStory(discordStage(discord), { quiet }) })
  const refused = discord.ledger.flatMap(({ outcome }) => (outcome.code === 400 ? [(outcome.body as { code: number }).code] : []))
  const may = options.refusals ?? []
  assert.ok(refused.length <= may.length && refused.every((code) => may.includes(code)), `Discord refused ${refused.join(', ')}`)
  assert.ok(discord.invalidRequests < 5, 'too many refusals lock an address out')
}

const stages = (count: number) => Array.from({ length: count }, (_, index) => `stage ${index + 1}`).join(', ')
const allTaken = (discord: DiscordEmulator) => until(() => discord.pending === 0, 'every event is taken')
const sendsOf = (discord: DiscordEmulator) => discord.ledger.filter(({ method }) => method === 'createMessage')

describe('Discord', () => {
  it('private chat, channel, thread, an answer to an answer', () =>
    inScene({}, async ({ story, model, discord }) => {
      const ann = story.user('ann')
      const greeting = ann.says('hi')
      await ann.hears('You said: hi')
      greeting.repeat()
      const team = story.group('team')
      ann.in(team).says('does anybody want tea?')
      ann.in(team).says('@emulated_bot what is tea?')
      const answer = await team.hears('You said: ann: what is tea?')
      assert.ok(answer.reply_to, 'in a server an answer refers to its question')
      story.user('bob').in(team).says('and coffee?', { answers: answer })
      await team.hears('You said: bob: and coffee?')
      const thread = team.topic(7)
      ann.in(thread).says('@emulated_bot in here')
      await thread.hears('You said: ann: in here')
      await team.hearsNothingMore()
      await ann.hearsNothingMore()
      assert.ok(!JSON.stringify(model.calls).includes('anybody'), 'what was not meant for it reached the model')
      assert.equal(discord.counts.identified, 1)
    }))

  it('slash commands', () =>
    inScene({}, async ({ story, discord }) => {
      const ann = story.user('ann')
      await until(() => discord.commands.length === 5, 'the commands are registered')
      const help = discord.command({ name: 'help', from: ann.id })
      const shown = await ann.hears(/\/new begins a new conversation/)
      assert.deepEqual([help.first, shown.interaction], [5, help.id])
      const team = story.group('team')
      const asked = discord.command({ name: 'ask', options: { prompt: 'what is tea?' }, from: ann.id, in: team.room })
      assert.equal((await team.hears('You said: ann: what is tea?')).interaction, asked.id)
      ann.says('/new')
      await ann.hears(/^A new conversation begins/)
      await ann.hearsNothingMore()
      assert.equal(discord.thinking, 0)
    }))

  it('several questions that one answer is for: none of them waits on', () =>
    inScene({}, async ({ story, model, discord }) => {
      model.reply(({ text }) => (text.startsWith('wait') ? { text: stages(12), interval: 60, chunkSize: 4 } : `You said: ${text}`))
      const ann = story.user('ann')
      const ask = (prompt: string) => discord.command({ name: 'ask', options: { prompt }, from: ann.id })
      ask('wait')
      await model.waitForCall(({ chunks }) => chunks > 0)
      const [, , last] = ['one', 'two', 'three'].map(ask)
      await until(() => discord.thinking >= 3, 'they are put off')
      await until(() => discord.thinking === 0, 'nothing is "thinking" any more')
      const answer = discord.posted().find(({ interaction }) => interaction === last?.id)
      assert.match(answer?.text ?? '', /^You said: [\s\S]*three/)
    }))

  it('a picture, a document', () =>
    inScene({}, async ({ story, model }) => {
      const ann = story.user('ann')
      ann.says('what is on it?', { photo: { bytes: Buffer.from('89504e470d0a1a0a0000000d', 'hex') } })
      await ann.hears('You said: what is on it?')
      assert.equal(model.calls.at(-1)?.question?.images, 1)
      ann.says('sum it up', { document: { name: 'plan.txt', mime: 'text/plain', bytes: Buffer.from('Nine horses, 三匹白马.') } })
      await ann.hears(/^You said: sum it up/)
      assert.match(model.calls.at(-1)?.question?.text ?? '', /plan\.txt[\s\S]*Nine horses, 三匹白马\./)
    }))

  it('an edited message before its answer, and one that is taken back', () =>
    inScene({}, async ({ story, model, discord }) => {
      model.reply(({ text }) => (text === 'wait' ? { text: stages(12), interval: 60, chunkSize: 4 } : `You said: ${text}`))
      const ann = story.user('ann')
      ann.says('wait')
      await model.waitForCall(({ chunks }) => chunks > 0)
      const question = ann.says('to Luoyang')
      const oops = ann.says('my password is 1234')
      await allTaken(discord)
      question.change('to Chang’an')
      oops.recall?.()
      await allTaken(discord)
      await ann.hears(stages(12))
      await ann.hears('You said: to Chang’an')
      await ann.hearsNothingMore()
      assert.ok(!JSON.stringify(model.calls).includes('1234'), 'what was taken back reached the model')
    }))

  it('an answer grows in one message, also that of a slash command', () =>
    inScene({ pace: { firstToken: 20, interval: 60, chunkSize: 4 } }, async ({ story, model, discord }) => {
      model.reply(stages(40))
      const ann = story.user('ann')
      ann.says('the long road')
      await ann.beginsToHear(/^stage 1, stage 2, .*…$/)
      const grown = await ann.hears(stages(40))
      assert.ok(grown.edits > 1 && grown.nonce)
      const asked = discord.command({ name: 'ask', options: { prompt: 'again' }, from: ann.id })
      await ann.beginsToHear(/^stage 1, stage 2, .*…$/)
      const answered = await ann.hears(stages(40))
      assert.ok(answered.edits > 1 && answered.interaction === asked.id)
      await ann.hearsNothingMore()
    }))

  it('a long answer with all kinds of formatting arrives whole', () =>
    inScene({}, async ({ story, model, discord }) => {
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
      await until(() => discord.posted(ann.room).some(({ text }) => text.includes('unclosed')), 'the end is there')
      const posted = discord.posted(ann.room)
      assert.ok(posted.length > 10 && posted.every(({ content }) => [...content].length <= 2000))
      assert.deepEqual(
        posted
          .map(({ text }) => text)
          .join('\n')
          .match(/\bw\d+\b/g),
        words,
      )
      const marks = new Set(posted.flatMap((post) => post.marks))
      for (const mark of ['heading', 'bold', 'italic', 'link', 'code', 'pre', 'strike', 'quote', 'list']) assert.ok(marks.has(mark), mark)
    }))

  it('429 is honoured, and limits that are told are not run into', () =>
    inScene({ emulator: { limits: { route: { amount: 3, per: 1500 } } } }, async ({ story, discord }) => {
      const ann = story.user('ann')
      discord.failNext('createMessage', { status: 429, retryAfter: 1 })
      for (const text of ['one', 'two', 'three', 'four', 'five', 'six']) {
        ann.says(text)
        await ann.hears(`You said: ${text}`)
      }
      const [refused, sent] = sendsOf(discord)
      assert.equal(refused?.outcome.code, 429)
      assert.ok((sent?.at ?? 0) - (refused?.at ?? 0) >= 1000, 'it was sent again too early')
      await ann.hearsNothingMore()
      assert.equal(discord.invalidRequests, 1)
    }))

  it('a lost confirmation makes no second message: Discord knows the nonce', () =>
    inScene({}, async ({ story, discord, cli }) => {
      const ann = story.user('ann')
      discord.dropReplyOf('createMessage')
      ann.says('hi')
      await ann.hears('You said: hi')
      await ann.hearsNothingMore()
      assert.equal(sendsOf(discord).length, 2)
      const asked = discord.command({ name: 'ask', options: { prompt: 'ho' }, from: ann.id })
      discord.dropReplyOf('editOriginal')
      assert.equal((await ann.hears('You said: ho')).interaction, asked.id)
      await ann.hearsNothingMore()
      const { maybeDuplicates, dead } = await cli<{ maybeDuplicates: number; dead: number }>('status')
      assert.deepEqual([maybeDuplicates, dead], [0, 0])
    }))

  it('kill -9 in the middle: one answer, one session', () =>
    // What is replayed may be acknowledged once more: whether it was before, nobody knows.
    inScene(
      { refusals: [40060], pace: { firstToken: 300, interval: 30, chunkSize: 4 } },
      async ({ story, model, discord, posthouse, cli }) => {
        model.reply(({ text }) => (text === 'the long road' ? stages(20) : `You said: ${text}`))
        const [ann, bob] = [story.user('ann'), story.user('bob')]
        ann.says('the long road')
        const asked = discord.command({ name: 'ask', options: { prompt: 'by a command' }, from: bob.id })
        await until(() => asked.first === 5, 'the command is acknowledged')
        await model.waitForCall(() => true)
        await posthouse.kill()
        await until(() => discord.connected === 0, 'the line is cut')
        bob.says('while nobody was there')
        await posthouse.start()
        await ann.hears(stages(20))
        assert.equal((await bob.hears(/^You said: by a command/)).interaction, asked.id, 'the token outlived the process')
        await until(() => discord.posted(bob.room).some(({ text }) => text.includes('while nobody was there')), 'what was said meanwhile')
        await ann.hearsNothingMore()
        assert.deepEqual([discord.counts.identified, discord.counts.resumed], [1, 1])
        // A send whose end nobody saw: the latest messages tell that it was made.
        discord.delay('createMessage', 60_000)
        const team = story.group('team')
        ann.in(team).says('@emulated_bot and then?')
        await until(() => discord.posted(team.room).length === 1, 'Discord has it')
        await posthouse.kill()
        discord.delay('createMessage', 0)
        await posthouse.start()
        await team.hears('You said: ann: and then?')
        await team.hearsNothingMore()
        assert.equal((await cli<{ maybeDuplicates: number }>('status')).maybeDuplicates, 0)
      },
    ))

  it('a session that is over: what was said meanwhile is fetched', () =>
    inScene({}, async ({ story, discord, posthouse }) => {
      const ann = story.user('ann')
      ann.says('hi')
      await ann.hears('You said: hi')
      const team = story.group('team')
      assert.equal(await posthouse.stop(), 0)
      discord.forget()
      discord.say({ text: 'are you there?', from: ann.id, unheard: true })
      discord.say({
        text: `<@${discord.me.id}> and here?`,
        from: { id: ann.id, username: 'ann', global_name: 'ann' },
        in: team.room,
        unheard: true,
      })
      await posthouse.start()
      await ann.hears('You said: are you there?')
      await team.hears('You said: ann: and here?')
      await ann.hearsNothingMore()
      assert.equal(discord.counts.identified, 2)
    }))

  it('the interactions endpoint: Discord agrees to it, and a command is answered over restarts', async () => {
    const port = await freePort()
    const server = { port, public_url: `http://127.0.0.1:${port}` }
    const account = ({ publicKey }: DiscordEmulator) => ({ mode: 'webhook', public_key: publicKey })
    await inScene({ server, account }, async ({ story, discord, posthouse }) => {
      await until(() => discord.endpoint !== undefined && discord.commands.length === 5, 'Discord agreed')
      const ann = story.user('ann')
      const asked = discord.command({ name: 'ask', options: { prompt: 'hi' }, from: ann.id })
      assert.equal((await ann.hears('You said: hi')).interaction, asked.id)
      assert.equal(asked.by, 'endpoint')
      const forged = JSON.stringify({ type: 2, id: '1', token: 'x', data: { type: 1, name: 'ask' } })
      const answer = await fetch(`${posthouse.url}/api/webhook/discord`, {
        method: 'POST',
        body: forged,
        headers: {
          'content-type': 'application/json',
          'x-signature-ed25519': '0'.repeat(128),
          'x-signature-timestamp': String(Math.floor(Date.now() / 1000)),
        },
      })
      assert.equal(answer.status, 401)
      await posthouse.kill()
      const missed = discord.command({ name: 'ask', options: { prompt: 'nobody hears' }, from: ann.id })
      await until(() => missed.failed === true, 'Discord tells that it failed')
      await posthouse.start()
      discord.command({ name: 'help', from: ann.id })
      await ann.hears(/begins a new conversation/)
      await ann.hearsNothingMore()
      assert.equal(discord.counts.identified, 0)
    })
  })

  it('a second gateway on the same token is told as a conflict', () =>
    inScene({}, async ({ story, discord, config, posthouse }) => {
      await using other = createPosthouse(config)
      await other.start()
      await until(() => discord.connected === 2, 'both are connected')
      story.user('ann').says('hi')
      await until(() => discord.posted().length === 2, 'both answer')
      const isTold = ({ log }: Posthouse) => log.some((line) => line.includes('"state":"conflict"'))
      await until(() => isTold(posthouse) && isTold(other), 'both are told of the conflict')
    }))
})
