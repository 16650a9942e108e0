/** A person takes a conversation over: nothing of the assistant's comes after that, and everybody's words have their place. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { MessageView } from '@posthouse/contract/http'
import { type Posthouse, until } from './posthouse.ts'
import { endless, inScene, stages } from './telegram-scene.ts'

const NOTICE = 'A person answers you here from now on.'

interface Held {
  readonly id: string
  readonly room: string
  readonly held: { readonly by: string } | null
}

interface Said extends Held {
  readonly messages: readonly MessageView[]
}

/** The administrator's program. */
async function desk({ url }: Posthouse, cli: (...args: string[]) => Promise<unknown>) {
  const { token } = (await cli('token', 'create', '--scopes', 'chat,admin')) as { token: string }
  const call = async <T>(path: string, body?: object, headers: Readonly<Record<string, string>> = {}) => {
    const response = await fetch(url + path, {
      headers: { authorization: `Bearer ${token}`, ...(body ? { 'content-type': 'application/json' } : {}), ...headers },
      ...(body ? { method: 'POST', body: JSON.stringify(body) } : {}),
    })
    const text = await response.text()
    return { status: response.status, body: (text === '' ? undefined : JSON.parse(text)) as T }
  }
  const at = async (room: number) => {
    const { body } = await call<{ conversations: Held[] }>(`/api/admin/conversations?account=telegram&room=${room}`)
    return `/api/admin/conversations/${body.conversations[0]?.id}`
  }
  return { call, at }
}

describe('Handing over', () => {
  it('while the model writes: its preview gives way to a notice, the person answers, and gives back', () =>
    inScene({ pace: endless }, async ({ story, model, telegram, posthouse, cli }) => {
      const { call, at } = await desk(posthouse, cli)
      const ann = story.user('ann')
      ann.says(stages(200))
      await ann.beginsToHear(/stage/)
      const path = await at(ann.room)
      assert.equal((await call(`${path}/messages`)).status, 403, 'read before it was taken over')
      const taken = await call<Held>(`${path}/take`, {})
      assert.equal(taken.status, 200)
      assert.ok(taken.body.held?.by)
      const after = telegram.ledger.length
      await ann.hears(NOTICE)
      await until(() => model.calls[0]?.ended?.how === 'client-closed', 'the model is called off')
      await call(`${path}/take`, {})
      ann.says('is anybody there?')
      const said = await call(`${path}/messages`, { text: 'Yes, **I** am.' })
      assert.equal(said.status, 200)
      await ann.hears('Yes, I am.')
      await ann.hearsNothingMore()
      assert.equal(model.calls.length, 1, 'the model was asked while a person answers')
      assert.ok(
        telegram.ledger.slice(after).every((entry) => !JSON.stringify(entry).includes('stage 1')),
        'something of the answer came after the person',
      )
      const { body } = await call<{ messages: MessageView[] }>(`${path}/messages`)
      assert.deepEqual(
        body.messages.map(({ role, text }) => [role, text.slice(0, 20)]),
        [
          ['user', stages(200).slice(0, 20)],
          ['system', NOTICE.slice(0, 20)],
          ['user', 'is anybody there?'],
          ['assistant', 'Yes, **I** am.'],
        ],
      )
      assert.deepEqual((await call<{ conversations: Held[] }>('/api/admin/conversations')).body.conversations.length, 1)
      assert.equal((await call(`${path}/return`, {})).status, 204)
      assert.equal((await call(`${path}/return`, {})).status, 400)
      model.setPace({})
      ann.says('and you?')
      await ann.hears('You said: and you?')
      const seen = model.calls.at(-1)?.question?.messages.map(({ text }) => text)
      assert.ok(seen?.includes('Yes, **I** am.'), 'the assistant does not know what the person said')
    }))

  it('an answer that waits for the platform stays back, for an operator to judge; the hold outlives kill -9', () =>
    inScene({}, async ({ story, telegram, model, posthouse, cli }) => {
      const { call, at } = await desk(posthouse, cli)
      const ann = story.user('ann')
      telegram.failNext('sendMessage', { status: 429, description: 'Too Many Requests: retry after 3', retryAfter: 3 })
      ann.says('你好')
      await until(() => telegram.ledger.some(({ outcome }) => outcome.code === 429), 'the answer is refused for now')
      const path = await at(ann.room)
      await call(`${path}/take`, {})
      await ann.hears('接下来由人工为你解答。')
      await ann.hearsNothingMore()
      await posthouse.kill()
      await posthouse.start()
      ann.says('ho')
      await ann.hearsNothingMore()
      assert.equal(model.calls.length, 1)
      const { dead } = await cli<{ dead: { reason: string; text: string }[] }>('dead', 'list')
      assert.deepEqual(
        dead.map(({ reason, text }) => [reason, text]),
        [['handed', 'You said: 你好']],
      )
    }))

  it('words of a person take over by themselves, without a notice', () =>
    inScene({ pace: endless }, async ({ story, model, posthouse, cli }) => {
      const { call, at } = await desk(posthouse, cli)
      const ann = story.user('ann')
      ann.says(stages(200))
      await until(() => model.calls.length === 1, 'the model is asked')
      await call(`${await at(ann.room)}/messages`, { text: 'Let me.' })
      await ann.hears('Let me.')
      await ann.hearsNothingMore()
    }))

  it('words with a key are said once, also at the same time, after a restart, and when the assistant is back', () =>
    inScene({}, async ({ story, telegram, posthouse, cli }) => {
      const { call, at } = await desk(posthouse, cli)
      const ann = story.user('ann')
      ann.says('hi')
      await ann.hears('You said: hi')
      const path = await at(ann.room)
      const say = (key: string, text = 'Let me.') => call<Said>(`${path}/messages`, { text }, { 'idempotency-key': key })
      const [one, two] = await Promise.all([say('click-1'), say('click-1')])
      await ann.hears('Let me.')
      assert.equal((await call(`${path}/return`, {})).status, 204)
      await posthouse.kill()
      await posthouse.start()
      const late = await say('click-1', 'Something else.')
      const answers = [one, two, late].map(({ status, body }) => `${status} ${body.messages[0]?.id} ${body.messages[0]?.text}`)
      assert.equal(new Set(answers).size, 1, answers.join('; '))
      assert.equal(late.body.held, null, 'a repetition took the conversation over')
      assert.equal((await say('click 2')).status, 400)
      await say('click-2', 'And another.')
      await ann.hears('And another.')
      await ann.hearsNothingMore()
      assert.equal(telegram.posted(ann.room).length, 3)
    }))

  it('a program that asks there is told', () =>
    inScene({}, async ({ posthouse, cli }) => {
      const { call } = await desk(posthouse, cli)
      const asked = await call<{ conversation_id: string }>('/api/v1/chat', { query: 'hi' })
      const path = `/api/admin/conversations/${asked.body.conversation_id}`
      assert.equal((await call(`${path}/take`, {})).status, 200)
      const again = await call<{ error: { code: string } }>('/api/v1/chat', { query: 'ho', conversation_id: asked.body.conversation_id })
      assert.deepEqual([again.status, again.body.error.code], [409, 'handed'])
    }))
})
