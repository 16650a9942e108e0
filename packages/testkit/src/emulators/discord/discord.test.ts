import assert from 'node:assert/strict'
import { test } from 'node:test'
import { API, Client, GatewayDispatchEvents, GatewayIntentBits, InteractionType, MessageFlags } from '@discordjs/core'
import { DiscordAPIError, REST } from '@discordjs/rest'
import { WebSocketManager, WebSocketShardEvents, WebSocketShardStatus } from '@discordjs/ws'
import { until } from '../../suites/channel.ts'
import { createDiscordEmulator, type DiscordEmulator, discordLimits, readDiscordMarkup, startDiscordEmulator } from './index.ts'

const INTENTS =
  GatewayIntentBits.Guilds |
  GatewayIntentBits.GuildMessages |
  GatewayIntentBits.DirectMessages |
  GatewayIntentBits.MessageContent |
  GatewayIntentBits.GuildMessageReactions

/** discord.js' own clients, unmodified but for the address. */
function sdk(emulator: DiscordEmulator, intents = INTENTS) {
  const rest = new REST({ version: '10', api: emulator.url.replace(/\/v10$/, ''), retries: 0 }).setToken(emulator.token)
  const gateway = new WebSocketManager({ token: emulator.token, intents, rest })
  return { rest, gateway, client: new Client({ rest, gateway }), api: new API(rest) }
}

const refusal = (code: number) => (error: unknown) => error instanceof DiscordAPIError && error.code === code
const rawCall = (emulator: DiscordEmulator, path: string, init: RequestInit = {}) =>
  fetch(`${emulator.url}${path}`, {
    ...init,
    headers: {
      authorization: `Bot ${emulator.token}`,
      'user-agent': 'DiscordBot (https://example.com, 1)',
      'content-type': 'application/json',
      ...init.headers,
    },
  })

test('a bot of discord.js talks with people over the gateway', async () => {
  await using emulator = await createDiscordEmulator()
  const { client, gateway, api } = sdk(emulator)
  client.on(GatewayDispatchEvents.MessageCreate, async ({ data }) => {
    if (data.author.bot) return
    if (data.content === 'thread?')
      await api.channels.createMessage(data.channel_id, { content: 'yes', message_reference: { message_id: data.id } })
    else await api.channels.createMessage(data.channel_id, { content: `**${data.content}**` })
  })
  client.on(GatewayDispatchEvents.MessageUpdate, async ({ data }) => {
    if (!data.author.bot) await api.channels.createMessage(data.channel_id, { content: `edited: ${data.content}` })
  })
  client.on(GatewayDispatchEvents.MessageDelete, async ({ data }) => {
    await api.channels.createMessage(data.channel_id, { content: `gone: ${data.id}` })
  })
  client.on(GatewayDispatchEvents.InteractionCreate, async ({ data }) => {
    if (data.type === InteractionType.ApplicationCommand) {
      await api.interactions.defer(data.id, data.token)
      await api.interactions.editReply(data.application_id, data.token, { content: 'in the end' })
      await api.interactions.followUp(data.application_id, data.token, { content: 'and more' })
    } else if (data.type === InteractionType.MessageComponent) await api.interactions.deferMessageUpdate(data.id, data.token)
  })
  const ready = Promise.withResolvers<string>()
  const guild = Promise.withResolvers<void>()
  client.once(GatewayDispatchEvents.Ready, ({ data }) => ready.resolve(data.user.id))
  client.once(GatewayDispatchEvents.GuildCreate, () => guild.resolve())
  await gateway.connect()
  assert.equal(await ready.promise, emulator.me.id)
  await guild.promise

  const said = emulator.say('hello')
  const bold = await emulator.waitForPosted(({ text }) => text === 'hello')
  assert.deepEqual(bold.marks, ['bold'])
  emulator.edit(said, 'hullo')
  await emulator.waitForPosted(({ text }) => text === 'edited: hullo')
  const asked = emulator.say({ text: 'thread?', in: '30001' })
  assert.equal((await emulator.waitForPosted(({ text }) => text === 'yes')).reply_to, asked.message_id)
  emulator.recall(said)
  await emulator.waitForPosted(({ text }) => text === `gone: ${said.message_id}`)
  emulator.command({ name: 'ask', options: { prompt: 'x' } })
  await emulator.waitForPosted(({ text }) => text === 'and more')
  assert.equal(emulator.posted().find(({ text }) => text === 'in the end')?.edits, 1)
  const pressed = emulator.press({ message: bold, custom_id: 'yes' })
  await until(() => pressed.first === 6, 'the button is acknowledged')
  await gateway.destroy()
})

test('discord.js resumes where it was, and begins anew when its session is gone', async () => {
  await using emulator = await createDiscordEmulator({ identifyEvery: 0, heartbeat: 50 })
  const { client, gateway } = sdk(emulator)
  const heard: string[] = []
  client.on(GatewayDispatchEvents.MessageCreate, ({ data }) => void heard.push(data.content))
  const resumed: number[] = []
  client.on(GatewayDispatchEvents.Resumed, () => void resumed.push(1))
  await gateway.connect()
  emulator.say('one')
  await until(() => heard.length === 1, 'the first message')
  emulator.drop(4000)
  await until(() => emulator.connected === 0, 'the line is cut')
  emulator.say('two')
  await until(() => heard.length === 2 && resumed.length === 1, 'what was said meanwhile')
  emulator.askReconnect()
  await until(() => resumed.length === 2, 'it came again when it was asked to')
  await until(() => emulator.pending === 0, 'heartbeats name the last sequence number')
  emulator.drop(4000)
  emulator.forget()
  await until(() => emulator.counts.identified === 2 && emulator.connected === 1, 'a new session')
  emulator.say('three')
  await until(() => heard.length === 3, 'and what is said in it')
  assert.deepEqual(heard, ['one', 'two', 'three'])
  assert.deepEqual([...(await gateway.fetchStatus()).values()], [WebSocketShardStatus.Ready])
  await gateway.destroy()
})

test('discord.js is told that a privileged intent is not enabled', async () => {
  await using emulator = await createDiscordEmulator({ messageContent: false })
  const { gateway } = sdk(emulator)
  const closed = Promise.withResolvers<number>()
  gateway.on(WebSocketShardEvents.Closed, (code) => closed.resolve(code))
  gateway.on(WebSocketShardEvents.Error, () => {})
  gateway.connect().catch(() => {})
  assert.equal(await closed.promise, 4014)
  await gateway.destroy()
})

test('uploads, downloads, history, commands and limits through discord.js', async () => {
  await using emulator = await createDiscordEmulator()
  const { api } = sdk(emulator)
  const { id } = emulator.direct('1001')
  const bytes = Buffer.alloc(100_000, 7)
  const sent = await api.channels.createMessage(id, {
    content: 'a file',
    files: [{ name: 'a b.txt', data: bytes, contentType: 'text/plain' }],
    flags: MessageFlags.SuppressEmbeds,
  })
  const [attachment] = sent.attachments
  assert.deepEqual(Buffer.from(await (await fetch(attachment?.url ?? '')).arrayBuffer()), bytes)
  await assert.rejects(api.channels.createMessage(id, { files: [{ name: 'x', data: Buffer.alloc(10 * 1024 * 1024 + 1) }] }), refusal(40005))
  await assert.rejects(api.channels.createMessage(id, { content: 'x'.repeat(2001) }), refusal(50035))
  await api.channels.createMessage(id, { content: '😀'.repeat(2000) })
  await assert.rejects(api.channels.createMessage(id, { content: ' \u200b ' }), refusal(50006))
  await assert.rejects(api.channels.createMessage('1', { content: 'x' }), refusal(10003))
  const one = await api.channels.createMessage(id, { content: 'once', nonce: 'n', enforce_nonce: true })
  assert.equal((await api.channels.createMessage(id, { content: 'once', nonce: 'n', enforce_nonce: true })).id, one.id)
  assert.deepEqual(
    (await api.channels.getMessages(id, { after: sent.id, limit: 1 })).map(({ content }) => content),
    ['😀'.repeat(2000)],
  )
  await api.applicationCommands.bulkOverwriteGlobalCommands(emulator.application, [{ name: 'ask', description: 'Ask.' }])
  assert.equal((await api.applicationCommands.getGlobalCommands(emulator.application))[0]?.name, 'ask')
  const person = emulator.say('mine')
  await assert.rejects(api.channels.editMessage(id, person.message_id, { content: 'no' }), refusal(50005))
  emulator.refuse(id, 50007)
  await assert.rejects(api.channels.createMessage(id, { content: 'x' }), refusal(50007))
})

test('limits are told by headers, and what is over them is refused', async () => {
  await using emulator = await createDiscordEmulator({ limits: { ...discordLimits, route: { amount: 2, per: 400 } } })
  const { id } = emulator.direct('1001')
  const post = () => rawCall(emulator, `/channels/${id}/messages`, { method: 'POST', body: JSON.stringify({ content: 'x' }) })
  const first = await post()
  assert.deepEqual([first.status, first.headers.get('x-ratelimit-remaining')], [200, '1'])
  await post()
  const refused = await post()
  const told = (await refused.json()) as { retry_after: number; global: boolean }
  assert.equal(refused.status, 429)
  assert.ok(told.retry_after > 0 && told.retry_after <= 0.4 && !told.global)
  assert.equal(emulator.invalidRequests, 1)
  // The client that is kept best waits by itself.
  const { api } = sdk(emulator)
  for (let time = 0; time < 5; time++) await api.channels.createMessage(id, { content: `${time}` })
  assert.equal(emulator.posted(id).length, 7)
})

test('no call without a proper user agent, token, content type or body', async () => {
  await using emulator = await createDiscordEmulator()
  const { id } = emulator.direct('1001')
  const path = `/channels/${id}/messages`
  const status = async (init: RequestInit) => {
    const answer = await rawCall(emulator, path, { method: 'POST', body: '{"content":"x"}', ...init })
    return [answer.status, ((await answer.json()) as { code: number }).code]
  }
  assert.deepEqual(await status({ headers: { 'user-agent': 'curl' } }), [403, 40333])
  assert.deepEqual(await status({ headers: { authorization: 'Bot x' } }), [401, 0])
  assert.deepEqual(await status({ headers: { 'content-type': 'text/plain' } }), [400, 50035])
  assert.deepEqual(await status({ body: '{' }), [400, 50109])
  assert.deepEqual(await status({ body: '{"content":"x","nonce":"12345678901234567890123456"}' }), [400, 50035])
  assert.deepEqual(await status({ body: '{"content":"x","flags":1}' }), [400, 50035])
  assert.deepEqual(await status({ body: '{"content":"x","message_reference":{"message_id":"1"}}' }), [400, 50035])
  assert.deepEqual(await status({ body: '{"content":"x","allowed_mentions":{"parse":["me"]}}' }), [400, 50035])
  assert.deepEqual(await status({ body: 'x', headers: { 'content-type': 'multipart/form-data; boundary=b' } }), [400, 50035])
})

test('one IDENTIFY too many burns the token', async () => {
  await using emulator = await createDiscordEmulator({ starts: 1, identifyEvery: 0 })
  const one = sdk(emulator)
  one.gateway.on(WebSocketShardEvents.Error, () => {})
  await one.gateway.connect()
  const { url, session_start_limit: limit } = (await (await rawCall(emulator, '/gateway/bot')).json()) as {
    url: string
    session_start_limit: { remaining: number }
  }
  assert.equal(limit.remaining, 0)
  // discord.js looks at what is left; this client does not.
  const socket = new WebSocket(`${url}/?v=10&encoding=json`)
  const closed = new Promise((resolve) => {
    socket.onclose = ({ code }) => resolve(code)
  })
  const properties = { os: 'linux', browser: 'x', device: 'x' }
  socket.onopen = () => socket.send(JSON.stringify({ op: 2, d: { token: emulator.token, intents: 1, properties } }))
  assert.equal(await closed, 4004)
  assert.equal((await rawCall(emulator, '/users/@me')).status, 401)
  await one.gateway.destroy()
})

test('what the desktop client makes of Markdown', () => {
  const seen = (content: string) => readDiscordMarkup(content).text
  assert.equal(seen('**a *b* c** __d__ ~~e~~ ||f|| `g*`'), 'a b c d e f g*')
  assert.equal(seen('snake_case_name and _this_'), 'snake_case_name and this')
  assert.equal(seen('\\*no\\* \\# \\<@1\\>'), '*no* # <@1>')
  assert.equal(seen('# Title\ntext # no'), 'Title\ntext # no')
  assert.equal(seen('> a\n> b\nc'), 'a\nb\nc')
  assert.equal(seen('```js\nlet a = `x`\n```'), 'let a = `x`')
  assert.equal(seen('[label](https://a.example/x)'), 'label (https://a.example/x)')
  assert.equal(seen('[https://a.example](https://b.example)'), '[https://a.example](https://b.example)')
  assert.equal(seen('- a\n  - b\n1. c'), '• a\n  • b\n1. c')
  assert.equal(seen('`` `a`b ``'), '`a`b ')
  assert.equal(seen('https://a.example/a_b_c*d*e'), 'https://a.example/a_b_c*d*e')
})

test('the verbs for people without code', async () => {
  await using emulator = await startDiscordEmulator({ host: '127.0.0.1', port: 0, token: 'any.token' })
  const root = emulator.url.replace('/api/v10', '')
  const control = async (verb: string, body?: object) =>
    (
      (await (await fetch(`${root}/control/${verb}`, body ? { method: 'POST', body: JSON.stringify(body) } : {})).json()) as {
        result: unknown
      }
    ).result
  const said = (await control('say', { text: 'hello', from: '1001' })) as { message_id: string; channel: string }
  assert.match(said.message_id, /^\d{17,}$/)
  await rawCall(emulator, `/channels/${said.channel}/messages`, { method: 'POST', body: '{"content":"hi"}' })
  assert.deepEqual(
    ((await control('posted')) as { text: string }[]).map(({ text }) => text),
    ['hi'],
  )
  assert.equal(((await control('ledger')) as object[]).length, 1)
})
