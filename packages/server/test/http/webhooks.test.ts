/** The platforms' door, with Telegram in webhook mode: the right secret is admitted once; nothing else is even read. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, describe, it } from 'node:test'
import { createTelegramEmulator, type TelegramEmulator } from '@posthouse/testkit'
import { until } from '../journeys/posthouse.ts'
import { type Gateway, raw, refusal, startGateway } from './gateway.ts'

const secret = 'a-secret_of-the_platform'
let telegram: TelegramEmulator
let gateway: Gateway

/** The gateway must know its public address, which is where it listens: it is started twice. */
async function startWithWebhook(resources: object = {}): Promise<Gateway> {
  const config = (url: string) => ({
    server: { trusted_proxies: ['127.0.0.1'], public_url: url },
    resources,
    channels: {
      telegram: {
        token: telegram.token,
        api_root: telegram.url,
        mode: 'webhook',
        secret_token: secret,
        room_send_rate: 1000,
        send_rate: 1000,
      },
    },
  })
  const started = await startGateway({ config: { resources } })
  await started.posthouse.stop()
  started.posthouse.configure({
    models: { endpoints: { main: { api: 'openai', base_url: `${started.model.url}/v1`, model: 'test-model' } } },
    assistant: { burst: 'one-by-one' },
    ...config(started.url),
  })
  await started.posthouse.start()
  await until(() => telegram.webhook?.url === `${started.url}/api/webhook/telegram`, 'the webhook is set')
  return started
}

before(async () => {
  telegram = await createTelegramEmulator({ retryDelay: 50, maxRetryDelay: 300 })
  gateway = await startWithWebhook()
})
after(async () => {
  await gateway[Symbol.asyncDispose]()
  await telegram[Symbol.asyncDispose]()
})

const update = (id: number, text: string) => ({
  update_id: id,
  message: {
    message_id: id,
    date: Math.floor(Date.now() / 1000),
    chat: { id: 5000, type: 'private', first_name: 'P' },
    from: { id: 5000, is_bot: false, first_name: 'P' },
    text,
  },
})
const header = (value: string) => ({ 'x-telegram-bot-api-secret-token': value })
const post = (json: unknown, headers: Record<string, string> = {}, path = '/api/webhook/telegram') => gateway.call(path, { json, headers })

describe('a webhook with its secret', () => {
  it('is admitted once, however often it comes, and answered', async () => {
    telegram.know(5000)
    const said = telegram.say({ text: 'by webhook', chat: 5000, from: 5000 })
    await telegram.waitForPosted(({ text }) => text === 'You said: by webhook')
    telegram.redeliver(said.update_id)
    const repeats = await Promise.all([1, 2, 3].map(() => post(said, header(secret))))
    assert.deepEqual(
      repeats.map(({ status }) => status),
      [200, 200, 200],
    )
    await until(() => telegram.pending === 0, 'all are confirmed')
    telegram.say({ text: 'and another', chat: 5000, from: 5000 })
    await telegram.waitForPosted(({ text }) => text === 'You said: and another')
    assert.equal(telegram.posted(5000).filter(({ text }) => text === 'You said: by webhook').length, 1)
    assert.equal(gateway.model.calls.filter(({ question }) => question?.text === 'by webhook').length, 1)
  })

  it('carries none of the headers that are for browsers', async () => {
    const { status, headers } = await post(update(900, '/help'), header(secret))
    assert.equal(status, 200)
    assert.equal(headers.get('content-security-policy'), null)
  })

  it('is not acknowledged while the database takes no writes, and admitted when it does again', async () => {
    using database = new DatabaseSync(join(gateway.posthouse.folder, 'data/posthouse.db'), { timeout: 5000 })
    database.exec('ALTER TABLE inbox RENAME TO inbox_away')
    const refused = await post(update(901, 'while away'), header(secret))
    const rest = await gateway.call('/api/v1/chat', { token: gateway.admin.token, json: { query: 'while away' } })
    database.exec('ALTER TABLE inbox_away RENAME TO inbox')
    for (const answer of [refused, rest]) {
      assert.equal(answer.status, 503, answer.text)
      assert.ok(Number(answer.headers.get('retry-after')) > 0)
    }
    assert.equal(rest.body.error.code, 'unavailable')
    assert.equal((await post(update(901, 'while away'), header(secret))).status, 200)
    await telegram.waitForPosted(({ text }) => text === 'You said: while away')
    assert.equal(gateway.model.calls.filter(({ question }) => question?.text === 'while away').length, 1)
  })

  it('is refused with 503 and Retry-After while the queue is full, and nothing is lost', async () => {
    await using small = await startWithWebhook({ max_waiting: 3 })
    small.model.setPace({ firstToken: 60_000 })
    const send = (id: number) => small.call('/api/webhook/telegram', { json: update(id, `full ${id}`), headers: header(secret) })
    for (const id of [950, 951, 952]) assert.equal((await send(id)).status, 200)
    const full = await send(953)
    assert.equal(full.status, 503)
    assert.ok(Number(full.headers.get('retry-after')) > 0)
    const rest = await small.call('/api/v1/chat', { token: small.admin.token, json: { query: 'full' } })
    assert.deepEqual([rest.status, rest.body.error.code], [503, 'overloaded'])
    using socket = await small.socket(small.admin)
    const id = '11111111-1111-4111-8111-111111111111'
    socket.send({ type: 'send', id, conversation_id: id, text: 'full' })
    const refused = await socket.wait('refused')
    assert.deepEqual([refused.id, refused.code, (refused.retry_after ?? 0) > 0], [id, 'overloaded', true])
    // Three more are asked and answered once there is room.
    small.model.setPace({})
    await small.posthouse.kill()
    await small.posthouse.start()
    telegram.know(5000)
    await until(async () => (await send(953)).status === 200, 'there is room again')
    for (const number of [950, 951, 952, 953]) await telegram.waitForPosted(({ text }) => text === `You said: full ${number}`)
  })
})

describe('a webhook without it', () => {
  it('is refused, whatever is shown instead', async () => {
    const wrong: readonly [string, Record<string, string>][] = [
      ['missing', {}],
      ['empty', header('')],
      ['wrong', header('a-secret_of-the_platforn')],
      ['short', header(secret.slice(0, -1))],
      ['long', header(`${secret}x`)],
      ['very long', header('x'.repeat(8000))],
      ['other case', header(secret.toUpperCase())],
      ['as bearer', { authorization: `Bearer ${secret}` }],
    ]
    for (const [name, headers] of wrong) {
      const answer = await post(update(1000, name), headers)
      assert.equal(answer.status, 401, name)
      assert.equal(refusal(answer, 'unauthorized'), '', name)
    }
    const query = await post(update(1000, 'query'), {}, `/api/webhook/telegram?x-telegram-bot-api-secret-token=${secret}`)
    assert.equal(query.status, 401)
    const body = JSON.stringify(update(1000, 'double'))
    const twice = await raw(
      gateway.url,
      `POST /api/webhook/telegram HTTP/1.1\r\nhost: x\r\nx-telegram-bot-api-secret-token: ${secret}\r\nX-Telegram-Bot-Api-Secret-Token: ${secret}\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    )
    assert.match(twice.text, /^HTTP\/1.1 401 /)
    const told = gateway.posthouse.log.filter((line) => line.includes('its proof does not hold'))
    assert.equal(told.length, 1, 'the log tells it, once in a while')
    assert.match(told[0] ?? '', /"account":"telegram"/)
    assert.ok(!gateway.model.calls.some(({ question }) => /^(missing|wrong|short|long|double|query)$/.test(question?.text ?? '')))
  })

  it('is unknown for accounts that are not there, or that have no webhook', async () => {
    for (const account of ['nobody', 'web', 'api', '__proto__', 'constructor', 'telegram%00', '..%2ftelegram', 'x'.repeat(65)]) {
      const answer = await post(update(1001, 'x'), header(secret), `/api/webhook/${account}`)
      assert.ok(refusal(answer, ['not-found', 'invalid']) === '', `${account}: ${answer.text}`)
    }
    assert.equal(refusal(await post({}, header(secret), `/api/webhook/${'x'.repeat(500)}`), ['not-found', 'too-large', 'invalid']), '')
  })

  it('is cut off before its body is read', async () => {
    const { hostname, port } = new URL(gateway.url)
    const reading = async () => Number(/rchar: (\d+)/.exec(await procIo())?.[1])
    const { readFile } = await import('node:fs/promises')
    const pid = (await readFile(join(gateway.posthouse.folder, 'data/posthouse.pid'), 'utf8')).trim()
    const procIo = () => readFile(`/proc/${pid}/io`, 'utf8').catch(() => '')
    const before = await reading()
    const size = 100 * 1024 * 1024
    const written = await new Promise<{ bytes: number; answer: string }>((resolve) => {
      const socket = connect(Number(port), hostname)
      let answer = ''
      let bytes = 0
      const chunk = Buffer.alloc(64 * 1024, 'x')
      const pump = () => {
        while (bytes < size && !socket.destroyed) {
          bytes += chunk.length
          if (!socket.write(chunk)) return void socket.once('drain', pump)
        }
      }
      socket.on('data', (data) => {
        answer += data.toString()
      })
      socket.on('error', () => {})
      socket.on('close', () => resolve({ bytes, answer }))
      socket.write(
        `POST /api/webhook/telegram HTTP/1.1\r\nhost: x\r\nx-telegram-bot-api-secret-token: wrong\r\ncontent-type: application/json\r\ncontent-length: ${size}\r\n\r\n`,
        pump,
      )
    })
    const read = (await reading()) - before
    assert.ok(written.bytes < size / 10, `${written.bytes} bytes were taken`)
    // What the kernel took is not what was read: the process itself counts. One read, and at most the begin of a second one.
    if (Number.isFinite(read)) assert.ok(read < 128 * 1024, `${read} bytes were read by the process`)
    assert.equal((await gateway.call('/healthz')).status, 200)
  })

  it('with the secret, is refused beyond 1 MB, and when it is no JSON', async () => {
    const big = await gateway.call('/api/webhook/telegram', { headers: header(secret), body: 'x'.repeat(1024 * 1024 + 1) })
    assert.equal(refusal(big, 'too-large'), '')
    for (const body of ['', 'nonsense', '[]', '"x"', 'null', '{"update_id":"x"}', '\u0000', `${'['.repeat(50_000)}`]) {
      const answer = await gateway.call('/api/webhook/telegram', { method: 'POST', headers: header(secret), body })
      assert.ok(answer.status < 500, `${body.slice(0, 20)}: ${answer.status} ${answer.text}`)
    }
    const get = await gateway.call('/api/webhook/telegram', { headers: header(secret) })
    assert.ok(get.status < 500, get.text)
  })
})
