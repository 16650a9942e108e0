/** One room that writes too much is told so, and no other room notices (P9). */
import assert from 'node:assert/strict'
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
