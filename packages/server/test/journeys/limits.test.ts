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
