// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are the configuration's own placeholders
/** What was told in confidence is never repeated: not in logs, errors, metrics or on the screen. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createTelegramEmulator } from '@posthouse/testkit'
import { withMutant } from '../chaos/mutants.ts'
import { preloading } from '../chaos/preload/edit.ts'
import { until } from '../journeys/posthouse.ts'
import { createCanaries, filesIn, findCanaries } from './canaries.ts'
import { raw, startGateway } from './gateway.ts'
import { leaks } from './leaks.ts'

const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64')

/** Lets a canary in at every door there is, ends the process badly, and answers where any of them came out. */
async function findLeaks(mutant?: string): Promise<readonly string[]> {
  const canary = createCanaries()
  const [modelKey, otherKey, hook, crash] = ['model', 'other-model', 'webhook', 'crash'].map(canary) as [string, string, string, string]
  await using telegram = await createTelegramEmulator({ token: `123456:${canary('telegram')}` })
  await using gateway = await startGateway({
    env: withMutant(mutant, preloading({ AI_DEBUG: 'true', MODEL_KEY: modelKey, POSTHOUSE_SAID: crash }, 'end-badly')),
    prepare: (folder) => {
      mkdirSync(join(folder, 'tmp'))
      writeFileSync(join(folder, 'hook.secret'), hook)
      return { TMPDIR: join(folder, 'tmp') }
    },
    config: (model) => ({
      assistant: { instructions: canary('instructions') },
      models: {
        primary: 'main',
        fallback: ['away', 'dead'],
        endpoints: {
          main: { api: 'openai', base_url: `${model}/v1`, model: 'm', api_key: '${env:MODEL_KEY}', headers: { 'x-other': otherKey } },
          away: { api: 'openai', base_url: 'http://127.0.0.1:1/v1', model: 'm', api_key: modelKey },
          dead: { api: 'anthropic', base_url: model, model: 'm', api_key: otherKey },
        },
      },
      channels: {
        telegram: { token: telegram.token, api_root: telegram.url, poll_timeout: '1s' },
        gone: {
          type: 'telegram',
          token: telegram.token.replace('123456', '654321'),
          api_root: 'http://127.0.0.1:1',
          mode: 'webhook',
          secret_token: '${file:hook.secret}',
        },
      },
    }),
  })
  const { token } = gateway.admin
  const { setupToken } = gateway.posthouse
  const [query, word, bearer, cookie, header, user] = ['query', 'password', 'bearer', 'cookie', 'header', 'user'].map(
    canary,
  ) as string[] as [string, string, string, string, string, string]
  /** What came back to people who may not read it: refusals, headers, frames of errors. Their own words they may have. */
  const answers: string[] = []
  const send = async (path: string, asking: Parameters<typeof gateway.call>[1]) => {
    const answer = await gateway.call(path, asking)
    answers.push(JSON.stringify([...answer.headers]), answer.status >= 400 ? answer.text : '')
    return answer
  }
  const chat = (text: string, more: object = {}) => send('/api/v1/chat', { token, json: { query: text, ...more } })

  // The model speaks, and asks for tools with what it heard.
  const zone = canary('zone')
  const calls = [
    { name: 'current_time', arguments: { time_zone: zone } },
    { name: 'current_time', arguments: { time_zone: 'UTC', extra: canary('argument') } },
    { name: canary('tool'), arguments: `{"a":"${canary('broken-argument')}` },
  ]
  gateway.model.reply(({ text, messages }) =>
    text.includes('use tools') && messages.at(-1)?.role !== 'tool' ? { text: canary('spoken'), toolCalls: calls } : `You said: ${text}`,
  )
  await chat(`use tools ${query}`, { user })

  // A chat tool: words, names, files, places, people; and the same by its webhook.
  const said = telegram.say({
    text: canary('telegram-text'),
    from: { id: 1001, first_name: canary('first-name'), username: canary('username').replaceAll('-', '_') },
  })
  telegram.edit(said, { text: canary('edited') })
  telegram.say({ text: canary('room-text'), chat: { id: -1001, title: canary('room') }, raw: { entities: [] } })
  telegram.say({ caption: canary('caption'), document: { name: `${canary('document-name')}.txt`, bytes: Buffer.from(canary('document')) } })
  telegram.say({ photo: { bytes: Buffer.concat([png, Buffer.from(canary('photo'))]) } })
  telegram.say({ contact: { phone_number: canary('phone'), first_name: canary('contact') } })
  telegram.say({ raw: { venue: { title: canary('venue'), address: canary('address'), location: { latitude: 1, longitude: 2 } } } })
  telegram.send({ message: { text: canary('malformed-update') } })
  const byHook = (body: string, secret: string) =>
    send('/api/webhook/gone', { body, method: 'POST', headers: { 'x-telegram-bot-api-secret-token': secret } })
  await byHook(JSON.stringify({ ...said, update_id: 9 }), bearer)
  await byHook(`not json ${query}`, hook)
  await byHook(JSON.stringify({ update_id: 9, message: { ...said.message, text: canary('hooked') } }), hook)

  // The web and the API: bodies, names, headers, cookies, paths, queries; good ones and bad ones.
  await send('/api/login', { json: { name: canary('login'), password: word } })
  await send('/api/login', { json: { name: { secret: word }, password: word } })
  await send('/api/setup', { json: { token: canary('link'), name: canary('setup'), password: word } })
  await send(`/api/me?token=${bearer}`, { headers: { authorization: `Bearer ${bearer}.${bearer}.${bearer}` } })
  await send('/api/me', { cookie: `posthouse_login=${cookie}` })
  await send('/api/v1/chat', { token, method: 'POST', body: `{"query":"${query}`, headers: { 'content-type': 'application/json' } })
  await send('/api/v1/chat', { token, json: { query: [query], [query]: word } })
  await send('/api/v1/chat', { token, json: { query: 'x', user }, headers: { 'idempotency-key': canary('idempotency') } })
  await send('/api/v1/chat', { token, json: { query: 'x' }, headers: { 'idempotency-key': `${header} ${header}` } })
  await send('/api/v1/chat', { token, json: { query: 'x' }, headers: { 'content-type': `${header}/${header}` } })
  const everywhere = [
    'user-agent',
    'referer',
    'x-request-id',
    'traceparent',
    'x-forwarded-proto',
    'last-event-id',
    'accept-language',
    'if-none-match',
  ]
  for (const path of ['/api/v1/chat/stream', '/api/me', '/', '/nowhere', '/ws'])
    await send(path, { token, headers: Object.fromEntries(everywhere.map((name) => [name, header])) })
  await send(`/api/v1/history?conversation_id=${query}`, { token })
  await send(`/api/v1/files/${query}`, { token })
  await send(`/${bearer}/%zz?token=${bearer}`, {})
  await send('/v1/chat/completions', {
    token,
    json: { model: canary('model-name').slice(0, 200), messages: [{ role: 'user', content: query }] },
  })
    // The one refusal that names what was asked for: to who asked.
    .then(() => answers.splice(-1))
  await send('/v1/chat/completions', {
    token,
    json: {
      messages: [
        { role: 'user', content: [{ type: 'image_url', image_url: { url: `http://${canary('host')}.invalid:1/${query}?key=${word}` } }] },
      ],
    },
  })
  const form = new FormData()
  form.append('file', new Blob([canary('content')]), `${canary('name')}.txt`)
  const { body: file } = await send('/api/v1/files', { token, body: form })
  await send('/api/v1/files', {
    token,
    method: 'POST',
    body: `--X\r\n${query}`,
    headers: { 'content-type': 'multipart/form-data; boundary=X' },
  })
  await raw(gateway.url, `GET / HTTP/1.1\r\nhost: x\r\ncookie: ${cookie}\0\r\n\r\n`)
  await raw(gateway.url, `${bearer}\r\n\r\n`)
  using socket = await gateway.socket(gateway.admin)
  const conversation = randomUUID()
  socket.send(`{"type":"${query}`)
  socket.send({ type: 'send', id: randomUUID(), conversation_id: query, text: query })
  socket.send({ type: 'send', id: randomUUID(), conversation_id: randomUUID(), text: query, files: [query] })
  socket.send({ type: 'subscribe', conversation_id: conversation, after: 0 })
  socket.send({ type: 'send', id: randomUUID(), conversation_id: conversation, text: canary('web'), files: [file.id] })
  await socket.wait('message', ({ message }) => message.role === 'assistant')
  await send(`/api/v1/conversations/${conversation}`, { method: 'PATCH', token, json: { title: canary('title') } })
  await until(() => telegram.posted(1001).length >= 2, 'the chat tool is answered')

  // The model fails with a quotation, and breaks off in every way.
  const quoting = { status: 400, message: `Invalid prompt: "${query}" with key ${modelKey} is not allowed`, times: 10 } as const
  gateway.model.failNext({ kind: 'status', ...quoting })
  await chat(query)
  gateway.model.failNext({ kind: 'status', ...quoting, status: 503 })
  await chat(query)
  await send('/v1/chat/completions', { token, json: { messages: [{ role: 'user', content: query }] } })
  for (const kind of ['error-event', 'truncated-json', 'early-end', 'web-page', 'reset'] as const) {
    gateway.model.heal()
    const text = `${kind} ${canary(kind)}`
    gateway.model.failNext({ kind, after: 1, times: 5, message: `about ${text}` })
    await chat(text)
  }
  await until(() => gateway.posthouse.log.some((line) => line.includes('no model answered')), 'the model failed')

  const metrics = await gateway.call('/metrics', { token })
  const status = await gateway.call('/api/admin/status', { token })
  const commands = [
    ['status', '--json'],
    ['token', 'list'],
    ['model', 'list'],
    ['channel', 'list'],
    ['config', 'check'],
    ['dead', 'list'],
    ['doctor'],
  ]
  const shown = []
  for (const args of commands) shown.push(await gateway.posthouse.cli(...args))
  const frames = socket.frames.filter(({ type }) => type === 'refused' || type === 'error')
  const before = filesIn(gateway.posthouse.folder, OWNERS)
  gateway.posthouse.signal('SIGUSR2')
  assert.equal(await gateway.posthouse.exited(), 1)
  const after = filesIn(gateway.posthouse.folder, OWNERS)

  const log = gateway.posthouse.log.join('\n')
  assert.ok(log.length > 1000 && metrics.text.length > 1000 && status.status === 200)
  assert.match(gateway.posthouse.said, /ended because of an error of its own[\s\S]*RangeError ERR_PLANTED\n[\s\S]*at .*end-badly/)
  assert.match(log, /"level":"fatal"[^\n]*start it again/)
  assert.ok(after['report.json'] && before['data/posthouse.db-wal'] && Object.keys(before).some((path) => path.startsWith('data/files/')))
  assert.ok(canary.all.size > 45, `${canary.all.size} canaries`)
  const whole: Record<string, string | Buffer> = {
    log,
    said: gateway.posthouse.said,
    metrics: metrics.text,
    status: status.text,
    answers: answers.join('\n'),
    frames: JSON.stringify(frames),
    commands: JSON.stringify(shown),
    ...before,
    ...after,
  }
  const tokens = Object.assign(() => '', {
    all: new Map([['token', token], ...(setupToken ? [['set-up link', setupToken] as const] : [])]),
  })
  // The link is shown to who starts the gateway, and to nobody else.
  const tokenSinks = Object.fromEntries(Object.entries(whole).filter(([name]) => name !== 'said'))
  return [...findCanaries(canary, whole), ...findCanaries(tokens, tokenSinks)]
}

/** In which the owner put secrets, and nobody else. */
const OWNERS = ['posthouse.yaml', 'hook.secret']

describe('secrets', () => {
  it('and what people write come out at no door, whatever is sent where, nor lie on the disk in plain', async () => {
    assert.deepEqual(await findLeaks(), [])
  })

  for (const { name, sink } of leaks) {
    it(`are found when a mutant leaks them: ${name}`, async () => {
      const found = await findLeaks(name)
      assert.ok(
        found.some((leak) => sink.test(leak)),
        `${sink} is not in: ${found.join('; ')}`,
      )
    })
  }

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
