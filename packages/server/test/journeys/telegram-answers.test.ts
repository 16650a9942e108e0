/** People in Telegram, as stories: what they are answered, and what may come between. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, it } from 'node:test'
import { preloading } from '../chaos/preload/edit.ts'
import { freePort } from '../ports.ts'
import { until } from './posthouse.ts'

import { inScene, sendsOf, stages } from './telegram-scene.ts'

describe('Telegram: answering', () => {
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

  it('an answer that waits for the platform since before kill -9 is not passed by later ones, nor they by each other', () =>
    inScene({ assistant: { burst: 'one-by-one' } }, async ({ story, telegram, posthouse }) => {
      const ann = story.user('ann')
      telegram.failNext('sendMessage', { status: 429, description: 'Too Many Requests: retry after 6', retryAfter: 6 })
      ann.says('first')
      await until(() => {
        using database = new DatabaseSync(join(posthouse.folder, 'data/posthouse.db'), { readOnly: true, timeout: 5000 })
        return database.prepare("SELECT 1 FROM outbox WHERE state = 'pending'").get() !== undefined
      }, 'the first answer is refused for now, and that is noted')
      await posthouse.kill()
      await posthouse.start()
      const later = ['second', 'third', 'fourth']
      for (const word of later) ann.says(word)
      for (const word of ['first', ...later]) await ann.hears(`You said: ${word}`)
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
