/** What was told in confidence is never repeated: not in logs, errors, metrics or on the screen. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createTelegramEmulator } from '@posthouse/testkit'
import { until } from '../journeys/posthouse.ts'
import { raw, startGateway } from './gateway.ts'

const canary = (name: string) => `canary-${name}-${randomUUID().replaceAll('-', '')}`

describe('secrets', () => {
  it('are in no log, error or metric, whatever is sent where', async () => {
    await using telegram = await createTelegramEmulator({ token: `123456:${canary('telegram')}` })
    const modelKey = canary('model')
    const webhookSecret = canary('webhook')
    await using gateway = await startGateway({
      env: { AI_DEBUG: 'true' },
      config: {
        models: {
          primary: 'main',
          fallback: ['dead'],
          endpoints: {
            main: { api: 'openai', base_url: 'http://127.0.0.1:1/v1', model: 'm', api_key: modelKey },
            dead: { api: 'anthropic', base_url: 'http://127.0.0.1:1', model: 'm', api_key: modelKey },
          },
        },
        channels: {
          telegram: { token: telegram.token, api_root: telegram.url, poll_timeout: '1s' },
          gone: {
            type: 'telegram',
            token: telegram.token.replace('123456', '654321'),
            api_root: 'http://127.0.0.1:1',
            mode: 'webhook',
            secret_token: webhookSecret,
          },
        },
      },
    })
    const content = canary('content')
    const word = canary('password')
    const bearer = canary('bearer')
    const cookie = canary('cookie')
    const link = canary('link')
    const secrets = [
      telegram.token.split(':')[1] ?? '',
      modelKey,
      webhookSecret,
      content,
      word,
      bearer,
      cookie,
      link,
      gateway.admin.token,
      gateway.posthouse.setupToken,
    ]
    const answers: string[] = []
    const send = async (path: string, asking: Parameters<typeof gateway.call>[1]) => {
      const answer = await gateway.call(path, asking)
      answers.push(`${answer.text} ${JSON.stringify([...answer.headers])}`)
      return answer
    }
    const { token } = gateway.admin
    telegram.know(1001)
    telegram.say({ text: content })
    await send('/api/v1/chat', { token, json: { query: content } })
    await send('/v1/chat/completions', { token, json: { messages: [{ role: 'user', content }] } })
    await send('/api/login', { json: { name: content, password: word } })
    await send('/api/login', { json: { name: { secret: word }, password: word } })
    await send('/api/setup', { json: { token: link, name: 'x', password: word } })
    await send(`/api/me?token=${bearer}`, { headers: { authorization: `Bearer ${bearer}.${bearer}.${bearer}` } })
    await send('/api/me', { cookie: `posthouse_login=${cookie}` })
    await send('/api/v1/chat', { token, method: 'POST', body: `{"query":"${content}`, headers: { 'content-type': 'application/json' } })
    await send('/api/v1/chat', { token, json: { query: [content], [content]: word } })
    await send('/api/v1/chat', { token, json: { query: 'x' }, headers: { 'idempotency-key': `${content} ${word}` } })
    await send(`/api/v1/history?conversation_id=${content}`, { token })
    await send(`/api/v1/files/${content}`, { token })
    await send(`/${bearer}/%zz?token=${bearer}`, {})
    await send('/api/webhook/gone', { json: { text: content }, headers: { 'x-telegram-bot-api-secret-token': bearer } })
    await send('/api/webhook/gone', { body: `not json ${content}`, headers: { 'x-telegram-bot-api-secret-token': webhookSecret } })
    await raw(gateway.url, `GET / HTTP/1.1\r\nhost: x\r\ncookie: ${cookie}\0\r\n\r\n`)
    await raw(gateway.url, `${bearer}\r\n\r\n`)
    using socket = await gateway.socket(gateway.admin)
    socket.send(`{"type":"${content}`)
    socket.send({ type: 'send', id: randomUUID(), conversation_id: content, text: content })
    socket.send({ type: 'send', id: randomUUID(), conversation_id: randomUUID(), text: content, files: [content] })
    await socket.wait('refused')
    await until(() => gateway.posthouse.log.some((line) => line.includes('no model answered')), 'the model failed')
    const metrics = await gateway.call('/metrics', { token })
    const status = await gateway.call('/api/admin/status', { token })
    const cli = [
      await gateway.posthouse.cli('status', '--json'),
      await gateway.posthouse.cli('token', 'list'),
      await gateway.posthouse.cli('model', 'list'),
    ]
    const log = gateway.posthouse.log.join('\n')
    assert.ok(log.length > 1000 && metrics.text.length > 1000 && status.status === 200)
    // Whose words they are may read them; everybody else may not. Frames and answers of refusals repeat nothing.
    const sinks: readonly [string, string][] = [
      ['log', log],
      ['metrics', metrics.text],
      ['status', status.text],
      ['answers', answers.join('\n')],
      ['frames', JSON.stringify(socket.frames.filter(({ type }) => type === 'refused' || type === 'error'))],
      ['commands', JSON.stringify(cli)],
    ]
    for (const [name, text] of sinks) {
      for (const secret of secrets) {
        const at = text.indexOf(secret)
        assert.equal(at, -1, `${name}: …${text.slice(Math.max(0, at - 300), at + 100)}…`)
      }
    }
    // P12: nor do they lie on the disk, but for the configuration in which their owner put them.
    for (const entry of readdirSync(join(gateway.posthouse.folder, 'data'), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      const bytes = readFileSync(join(entry.parentPath, entry.name))
      for (const secret of secrets) assert.ok(!bytes.includes(secret), `${entry.name} holds ${secret}`)
    }
  })

  it('errors of our own carry an id that is in the log', async () => {
    const { DatabaseSync } = await import('node:sqlite')
    await using gateway = await startGateway()
    using database = new DatabaseSync(join(gateway.posthouse.folder, 'data/posthouse.db'), { timeout: 5000 })
    database.exec('ALTER TABLE conversations RENAME TO conversations_away')
    const answer = await gateway.call('/api/v1/conversations', { token: gateway.admin.token, headers: { 'accept-language': 'zh' } })
    database.exec('ALTER TABLE conversations_away RENAME TO conversations')
    assert.equal(answer.status, 500)
    assert.equal(answer.body.error.code, 'internal')
    assert.match(answer.body.error.message, /内部错误/)
    assert.doesNotMatch(answer.text, /sql|table|conversations_away|\/packages\//i)
    await until(() => gateway.posthouse.log.some((line) => line.includes(answer.body.error.id)), 'the id is in the log')
  })
})
