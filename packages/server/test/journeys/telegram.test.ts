/** People in Telegram, as stories: what they write and what is understood. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { until } from './posthouse.ts'

import { allTaken, endless, inScene, stages } from './telegram-scene.ts'

describe('Telegram: asking', () => {
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
})
