/** One room that writes too much is told so, and no other room notices (P9). */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import { createModelEmulator, createTelegramEmulator } from '@posthouse/testkit'
import { createPosthouse, until } from './posthouse.ts'

it('P9: a flooding room is refused with one notice; everybody else is answered', async () => {
  await using telegram = await createTelegramEmulator()
  await using model = await createModelEmulator({ keys: 'any', models: 'any', pace: { firstToken: 300 } })
  await using posthouse = createPosthouse({
    models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
    channels: { telegram: { token: telegram.token, api_root: telegram.url, send_rate: 1000, room_send_rate: 1000 } },
    resources: { max_waiting_per_conversation: 3 },
    assistant: { burst: 'one-by-one' },
  })
  await posthouse.start()
  for (let n = 1; n <= 12; n++) telegram.say({ text: `flood ${n}.`, chat: 1001, from: 1001 })
  telegram.say({ text: 'somebody else', chat: 1002, from: 1002 })
  await telegram.waitForPosted(({ text, chat }) => chat === 1002 && text === 'You said: somebody else', 10_000)
  await telegram.waitForPosted(({ text, chat }) => chat === 1001 && text.includes('too much at once'), 10_000)
  await until(() => telegram.pending === 0, 'every update is confirmed')
  const status = async () =>
    JSON.parse((await posthouse.cli('status', '--json')).stdout) as { waiting: number; unsent: number; dead: number }
  await until(async () => {
    const { waiting, unsent } = await status()
    return waiting + unsent === 0
  }, 'all is settled')
  const posted = telegram.posted(1001).map(({ text }) => text)
  assert.equal(posted.filter((text) => text.includes('too much at once')).length, 1)
  const answered = posted.flatMap((text) => /^You said: flood (\d+)\.$/.exec(text)?.[1] ?? [])
  assert.deepEqual(answered, ['1', '2', '3'])
  assert.equal((await status()).dead, 0)
})

it('P3: what waits for an account that is gone is kept for the operator, and answered when it is back', async () => {
  await using telegram = await createTelegramEmulator()
  await using model = await createModelEmulator({ keys: 'any', models: 'any', pace: { firstToken: 20_000 } })
  const models = { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } }
  const account = { token: telegram.token, api_root: telegram.url, allowed_users: [1001] }
  await using posthouse = createPosthouse({ models, channels: { telegram: account } })
  await posthouse.start()
  telegram.say({ text: 'are you there?', chat: 1001, from: 1001 })
  await until(() => model.active === 1, 'the model is asked')
  await posthouse.kill()
  model.setPace({})
  posthouse.configure({ models, channels: {} })
  await posthouse.start()
  const dead = async () =>
    (JSON.parse((await posthouse.cli('dead', 'list', '--json')).stdout) as { dead: { id: string; reason: string }[] }).dead
  await until(async () => (await dead()).length === 1, 'it is a dead letter')
  assert.equal((await dead())[0]?.reason, 'closed')
  assert.equal(telegram.posted(1001).length, 0)
  assert.equal(model.calls.length, 1, 'no model is asked without an access check')
  posthouse.configure({ models, channels: { telegram: account } })
  await until(
    () => posthouse.log.some((line) => line.includes('"account":"telegram"') && line.includes('"connected"')),
    'the account is open again',
  )
  assert.equal((await posthouse.cli('dead', 'retry', (await dead())[0]?.id ?? '')).code, 0)
  await telegram.waitForPosted(({ text }) => text === 'You said: are you there?', 10_000)
})

it('a gateway on a port that it chose itself is found by the commands', async () => {
  await using posthouse = createPosthouse({ server: { port: 0 } })
  await posthouse.start()
  posthouse.configure({ server: { port: 0 } })
  const status = async () => JSON.parse((await posthouse.cli('status', '--json')).stdout) as { running: boolean }
  assert.equal((await status()).running, true)
  await posthouse.stop()
  assert.equal((await status()).running, false)
})

it('an operator sends files: small ones as they are, large ones as a link that opens them', async () => {
  await using telegram = await createTelegramEmulator()
  await using posthouse = createPosthouse({})
  const publicUrl = 'https://assistant.example.com'
  posthouse.configure({
    server: { public_url: publicUrl },
    resources: { max_file: '60MB' },
    channels: { telegram: { token: telegram.token, api_root: telegram.url, allowed_users: [1001] } },
  })
  telegram.know(1001)
  await posthouse.start()
  const send = async (name: string, bytes: Buffer, text: string) => {
    writeFileSync(join(posthouse.folder, name), bytes)
    const { code, stderr } = await posthouse.cli('send', 'telegram', '1001', text, '--file', name)
    assert.equal(code, 0, stderr)
  }
  await send('plan.pdf', Buffer.from('%PDF small'), 'the plan')
  const small = await telegram.waitForPosted(({ file }) => file?.name === 'plan.pdf', 10_000)
  assert.deepEqual(Buffer.from(small.file?.bytes ?? []), Buffer.from('%PDF small'))
  const large = Buffer.alloc(51 * 1024 * 1024, 'film')
  await send('film.mp4', large, '')
  const { text, entities } = await telegram.waitForPosted((message) => message.text.includes('film.mp4'), 15_000)
  assert.equal(text, '📎 film.mp4')
  const link = entities.find((entity) => entity.type === 'text_link')
  assert.ok(link?.type === 'text_link' && link.url.startsWith(publicUrl), JSON.stringify(entities))
  const fetched = await fetch(link.url.replace(publicUrl, posthouse.url))
  assert.equal(fetched.status, 200)
  assert.ok(Buffer.from(await fetched.arrayBuffer()).equals(large))
  assert.equal((await fetch(`${link.url.replace(publicUrl, posthouse.url)}x`)).status, 401)
  const missing = await posthouse.cli('send', 'telegram', '1001', 'x', '--file', 'none')
  assert.deepEqual([missing.code, /none: there is no such file/.test(missing.stderr)], [2, true])
})

it('P9: what is asked in bulk leaves room for people, in the line of lanes and at the model', async () => {
  await using telegram = await createTelegramEmulator()
  await using news = await createTelegramEmulator({ token: '1002:bulk-token-of-nobody-at-all-000000' })
  // Long enough that a person comes meanwhile.
  await using model = await createModelEmulator({ keys: 'any', models: 'any', pace: { firstToken: 6000 } })
  await using posthouse = createPosthouse({
    models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model', max_concurrency: 4 } } },
    channels: {
      telegram: { token: telegram.token, api_root: telegram.url },
      news: { type: 'telegram', token: news.token, api_root: news.url, priority: 'background' },
    },
    resources: { max_concurrency: 6 },
  })
  await posthouse.start()
  const post = async (path: string, body: object, token = '') => {
    const headers = { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) }
    const response = await fetch(posthouse.url + path, { method: 'POST', headers, body: JSON.stringify(body) })
    assert.equal(response.status, 200)
    return (await response.json()) as { answer: string; service_tier: string; choices: { message: { content: string } }[] }
  }
  await post('/api/setup', { token: posthouse.setupToken, name: 'Ann', password: 'correct horse battery' })
  const { token } = JSON.parse((await posthouse.cli('token', 'create', '--json')).stdout) as { token: string }
  news.say({ text: 'news', chat: 1001, from: 1001 })
  await until(() => model.active === 1, 'the first is at work')
  const bulk = Array.from({ length: 6 }, (_, index) => post('/api/v1/chat', { query: `bulk ${index}`, priority: 'background' }, token))
  await until(() => model.active === 2, 'background work has half of the model')
  const flex = post('/v1/chat/completions', { service_tier: 'flex', messages: [{ role: 'user', content: 'flex' }] }, token)
  model.setPace({})
  telegram.say({ text: 'a person', chat: 1001, from: 1001 })
  await telegram.waitForPosted(({ text }) => text === 'You said: a person', 10_000)
  const asked = model.calls.map(({ question }) => question?.text)
  assert.deepEqual([asked.length, asked.at(-1)], [3, 'a person'], `${asked.join(', ')}: before all that waits in bulk`)
  await news.waitForPosted(({ text }) => text === 'You said: news', 20_000)
  const answers = (await Promise.all(bulk)).map(({ answer }) => answer)
  assert.deepEqual(
    answers,
    Array.from({ length: 6 }, (_, index) => `You said: bulk ${index}`),
  )
  const { service_tier: tier, choices } = await flex
  assert.deepEqual([tier, choices[0]?.message.content], ['flex', 'You said: flex'])
})
