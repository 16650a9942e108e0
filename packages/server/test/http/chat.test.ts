/** REST and event streams: one question, one answer, over cut lines and killed processes. The model's ledger and what readers have are the judges. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, describe, it } from 'node:test'
import type { MessageView } from '@posthouse/contract/http'
import { until } from '../journeys/posthouse.ts'
import { events, type Gateway, newReader, type Reader, read, refusal, startGateway } from './gateway.ts'

let gateway: Gateway
before(async () => {
  gateway = await startGateway({ config: { assistant: { burst: 'one-by-one' } } })
})
after(() => gateway[Symbol.asyncDispose]())

const words = (count: number) => Array.from({ length: count }, (_, index) => `word${index}`).join(' ')
const asked = (text: string) => gateway.model.calls.filter((call) => call.question?.text === text).length

/** Reads on from what the reader has, until `enough` or the end of the answer. */
async function follow(
  reader: Reader,
  query: string,
  enough: (reader: Reader) => boolean,
  headers: Record<string, string> = {},
): Promise<void> {
  const resume: Record<string, string> = reader.lastId ? { 'last-event-id': reader.lastId } : {}
  const asking = { token: gateway.admin.token, json: { query }, headers: { ...headers, ...resume } }
  for await (const event of events(`${gateway.url}/api/v1/chat/stream`, asking)) {
    read(reader, event)
    if (reader.end || enough(reader)) return
  }
}

describe('POST /api/v1/chat', () => {
  it('answers, and goes on in the same conversation', async () => {
    const { token } = gateway.admin
    const first = await gateway.call('/api/v1/chat', { token, json: { query: 'one' } })
    assert.equal(first.status, 200, first.text)
    assert.equal(first.body.answer, 'You said: one')
    assert.ok(first.body.usage.outputTokens > 0)
    assert.equal(first.body.model, 'main')
    const second = await gateway.call('/api/v1/chat', { token, json: { query: 'two', conversation_id: first.body.conversation_id } })
    assert.equal(second.body.conversation_id, first.body.conversation_id)
    const call = gateway.model.calls.find(({ question }) => question?.text === 'two')
    assert.deepEqual(
      call?.question?.messages.filter(({ role }) => role !== 'system').map(({ text }) => text),
      ['one', 'You said: one', 'two'],
    )
    const history = await gateway.call(`/api/v1/history?conversation_id=${first.body.conversation_id}`, { token })
    assert.deepEqual(
      history.body.messages.map(({ role, text }: { role: string; text: string }) => [role, text]),
      [
        ['user', 'one'],
        ['assistant', 'You said: one'],
        ['user', 'two'],
        ['assistant', 'You said: two'],
      ],
    )
  })

  /** Asks several questions at once in one conversation; answers what each was told, and the history. */
  const askAtOnce = async (gateway: Gateway, queries: readonly string[]) => {
    const { token } = gateway.admin
    const { body } = await gateway.call('/api/v1/chat', { token, json: { query: 'begin' } })
    gateway.model.setPace({ firstToken: 100 })
    const conversation = { conversation_id: body.conversation_id }
    const answers = await Promise.all(queries.map((query) => gateway.call('/api/v1/chat', { token, json: { query, ...conversation } })))
    gateway.model.setPace({})
    const history = await gateway.call(`/api/v1/history?conversation_id=${body.conversation_id}`, { token })
    return { told: answers.map((answer) => answer.body), messages: history.body.messages as MessageView[] }
  }

  it('gives each of several questions at once its own answer', async () => {
    const { told } = await askAtOnce(gateway, ['a', 'b', 'c'])
    assert.deepEqual(
      told.map(({ answer }) => answer),
      ['You said: a', 'You said: b', 'You said: c'],
    )
  })

  it('gives the questions of a burst the answer that they share', async () => {
    await using gateway = await startGateway({ config: { assistant: { burst: 'coalesce' } } })
    const queries = ['a', 'b', 'c']
    const { told, messages } = await askAtOnce(gateway, queries)
    const seqOf = (id: string | undefined) => messages.find((message) => message.id === id)?.seq ?? Number.NaN
    for (const [index, query] of queries.entries()) {
      const asked = messages.find(({ role, text }) => role === 'user' && text === query)
      // In the order of admission: the first answer to it, or to a later one.
      const first = messages.find(({ role, reply_to: to }) => role === 'assistant' && seqOf(to) >= (asked?.seq ?? 0))
      assert.equal(told[index].message_id, first?.id, query)
    }
    assert.ok(new Set(told.map(({ message_id: id }) => id)).size < 3, 'a burst was coalesced')
  })

  it('with an Idempotency-Key asks once, however often it is sent', async () => {
    const { token } = gateway.admin
    const headers = { 'idempotency-key': randomUUID() }
    const query = 'only once'
    const answers = await Promise.all([1, 2, 3].map(() => gateway.call('/api/v1/chat', { token, headers, json: { query } })))
    const started = performance.now()
    answers.push(await gateway.call('/api/v1/chat', { token, headers, json: { query } }))
    assert.ok(performance.now() - started < 1000, 'a known answer is not waited for')
    assert.deepEqual(new Set(answers.map(({ body }) => body.message_id)).size, 1, answers.map(({ text }) => text).join('\n'))
    assert.equal(asked(query), 1)
    const other = await gateway.call('/api/v1/chat', { token, headers, json: { query, user: 'bob' } })
    assert.notEqual(other.body.message_id, answers[0]?.body.message_id, 'another person has keys of their own')
    for (const key of ['x'.repeat(129), 'a b', 'é']) {
      const refused = await gateway.call('/api/v1/chat', { token, headers: { 'idempotency-key': key }, json: { query } })
      assert.equal(refusal(refused, 'invalid'), '', key)
    }
  })

  it('keeps the people of one program apart', async () => {
    const { token } = gateway.admin
    const bob = await gateway.call('/api/v1/chat', { token, json: { query: 'I am Bob', user: 'bob' } })
    const taken = { query: 'hello', user: 'eve', conversation_id: bob.body.conversation_id }
    assert.equal(refusal(await gateway.call('/api/v1/chat', { token, json: taken }), 'not-found'), '')
    const key = (user: string, key: string) =>
      gateway.call('/api/v1/chat', { token, json: { query: `${user} ${key}`, user }, headers: { 'idempotency-key': key } })
    assert.equal((await key('b:c', 'd')).body.answer, 'You said: b:c d')
    assert.equal((await key('b', 'c:d')).body.answer, 'You said: b c:d')
  })

  it('says in the language of the caller that no model answered, and keeps the question', async () => {
    gateway.model.failNext({ kind: 'status', status: 400, message: 'no', times: 10 })
    const { token } = gateway.admin
    const failed = await gateway.call('/api/v1/chat', { token, headers: { 'accept-language': 'zh-CN,zh;q=0.9' }, json: { query: 'fails' } })
    gateway.model.heal()
    assert.equal(failed.status, 502)
    assert.equal(failed.body.error.code, 'model-failed')
    assert.match(failed.body.error.message, /没有模型/)
  })
})

describe('POST /api/v1/chat/stream', () => {
  it('starts over when the answer that is there has other words than the one that broke off', async () => {
    await using gateway = await startGateway({ model: { pace: { interval: 10, chunks: 100 } } })
    const query = words(100)
    const reader = newReader()
    const asking = { token: gateway.admin.token, json: { query } }
    for await (const event of events(`${gateway.url}/api/v1/chat/stream`, asking)) {
      read(reader, event)
      if (reader.text.length > 100) break
    }
    await gateway.posthouse.kill()
    gateway.model.reply(`Something else: ${query}`)
    gateway.model.setPace({})
    await gateway.posthouse.start()
    const history = () => gateway.call(`/api/v1/history?conversation_id=${reader.conversation}`, { token: gateway.admin.token })
    await until(async () => (await history()).body.messages.length === 2, 'the answer is committed')
    for await (const event of events(`${gateway.url}/api/v1/chat/stream`, { ...asking, headers: { 'last-event-id': reader.lastId } })) {
      read(reader, event)
    }
    assert.equal(reader.restarts, 1)
    assert.equal(reader.text, `Something else: ${query}`)
  })

  it('streams an answer whose parts make up the whole', async () => {
    const query = words(200)
    gateway.model.setPace({ interval: 5, chunks: 60 })
    const reader = newReader()
    let deltas = 0
    await follow(reader, query, () => {
      deltas++
      return false
    })
    assert.equal(reader.text, `You said: ${query}`)
    assert.equal(reader.end.answer, reader.text)
    assert.ok(deltas > 5, `${deltas} events`)
  })

  it('resumes over lines that are cut again and again, also behind the end', async () => {
    const query = words(400)
    gateway.model.setPace({ interval: 4, chunks: 150 })
    const reader = newReader()
    for (let cut = 100; !reader.end && cut < 2400; cut += 300) await follow(reader, query, ({ text }) => text.length > cut)
    assert.ok(!reader.end, 'the line was cut before the end')
    const { body } = await gateway.call(`/api/v1/history?conversation_id=${reader.conversation}`, { token: gateway.admin.token })
    assert.equal(body.messages.length, 1, 'the answer is not there yet')
    await follow(reader, query, () => false)
    assert.equal(reader.text, `You said: ${query}`)
    assert.equal(reader.restarts, 0)
    assert.equal(asked(query), 1)
  })

  it('resumes when the answer ended meanwhile, without starting over', async () => {
    const query = `${words(100)} 😀😀😀`
    gateway.model.setPace({ interval: 2, chunkSize: 1 })
    const reader = newReader()
    await follow(reader, query, ({ text }) => text.length > 200)
    const { conversation } = reader
    const history = () => gateway.call(`/api/v1/history?conversation_id=${conversation}`, { token: gateway.admin.token })
    await until(async () => (await history()).body.messages.length === 2, 'the answer is committed')
    await follow(reader, query, () => false)
    assert.equal(reader.text, `You said: ${query}`)
    assert.equal(reader.restarts, 0)
  })

  it('refuses an id that is damaged, of somebody else, or of nobody', async () => {
    const reader = newReader()
    gateway.model.setPace({})
    await follow(reader, 'mine', () => false)
    const eve = await gateway.person(`Eve ${randomUUID()}`)
    const resume = (token: string, id: string) =>
      gateway.call('/api/v1/chat/stream', { token, json: { query: 'mine' }, headers: { 'last-event-id': id } })
    assert.equal(refusal(await resume(eve.token, reader.lastId), 'not-found'), '')
    assert.equal(refusal(await resume(gateway.admin.token, reader.lastId.replace(/^[^.]+/, randomUUID())), 'not-found'), '')
    assert.equal(refusal(await resume(gateway.admin.token, 'x'), 'invalid'), '')
  })

  it('tells an open stream that its token was revoked', async () => {
    gateway.model.setPace({ interval: 100, chunks: 50 })
    const made = await gateway.token(gateway.admin.id)
    const seen: string[] = []
    let revokedAt = 0
    for await (const { event, data } of events(`${gateway.url}/api/v1/chat/stream`, { token: made.token, json: { query: words(50) } })) {
      seen.push(event)
      if (event === 'error') assert.equal(data.code, 'unauthorized')
      if (event === 'delta' && revokedAt === 0) {
        revokedAt = performance.now()
        await gateway.withStore((store) => store.users.revokeToken(made.id))
      }
    }
    assert.equal(seen.at(-1), 'error')
    assert.ok(performance.now() - revokedAt < 1000, `${performance.now() - revokedAt} ms`)
    gateway.model.setPace({})
  })

  it('goes on after a kill -9 in the middle of the answer, with nothing lost and nothing doubled', async () => {
    await using gateway = await startGateway({ model: { pace: { interval: 10, chunks: 100 } } })
    const query = words(300)
    const reader = newReader()
    const stream = async (enough: (text: string) => boolean) => {
      const headers: Record<string, string> = reader.lastId ? { 'last-event-id': reader.lastId } : { 'idempotency-key': 'the-question' }
      for await (const event of events(`${gateway.url}/api/v1/chat/stream`, { token: gateway.admin.token, json: { query }, headers })) {
        read(reader, event)
        if (enough(reader.text)) return
      }
    }
    await stream((text) => text.length > 300)
    await gateway.posthouse.kill()
    await gateway.posthouse.start()
    await stream(() => false)
    assert.equal(reader.text, `You said: ${query}`)
    assert.equal(reader.end.answer, reader.text)
    const repeated = await gateway.call('/api/v1/chat', {
      token: gateway.admin.token,
      json: { query },
      headers: { 'idempotency-key': 'the-question' },
    })
    assert.equal(repeated.body.message_id, reader.end.message_id)
    const { body } = await gateway.call(`/api/v1/history?conversation_id=${reader.conversation}`, { token: gateway.admin.token })
    assert.equal(body.messages.length, 2)
  })
})
