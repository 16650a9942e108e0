import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { SocketModeClient } from '@slack/socket-mode'
import { LogLevel, WebClient } from '@slack/web-api'
import { until } from '../../suites/channel.ts'
import { createSlackEmulator, type SlackEmulator, startSlackEmulator } from './index.ts'

const PERSON = 'U0ANN'
const web = (emulator: SlackEmulator, token = emulator.botToken) =>
  new WebClient(token, { slackApiUrl: emulator.url, retryConfig: { retries: 0 }, logLevel: LogLevel.ERROR, rejectRateLimitedCalls: true })
const refused = (code: string) => (error: unknown) => (error as { data?: { error?: string } }).data?.error === code

interface Acknowledged {
  readonly ack: (answer?: object) => Promise<void>
  readonly body: { readonly event?: Record<string, unknown>; readonly event_id?: string; readonly [name: string]: unknown }
  readonly retry_num?: number
}

test('an app on the official SDK talks with people over Socket Mode', async () => {
  await using emulator = await createSlackEmulator({ echoes: false, ackDeadline: 400, retryDelay: 5 })
  const client = web(emulator)
  const socket = new SocketModeClient({
    appToken: emulator.appToken,
    clientOptions: { slackApiUrl: emulator.url },
    logLevel: LogLevel.ERROR,
  })
  const heard: Acknowledged[] = []
  let silent = true
  socket.on('slack_event', async (told: Acknowledged) => {
    heard.push(told)
    if (silent) return
    await told.ack(told.body.command ? { response_type: 'in_channel' } : undefined)
    const { event } = told.body
    if (event?.type === 'message') await client.chat.postMessage({ channel: String(event.channel), text: `*${event.text}*` })
  })
  await socket.start()
  assert.equal(emulator.sockets, 1)
  // Not acknowledged, it comes again with the same id.
  emulator.say({ text: 'hello', from: PERSON })
  await until(() => heard.length === 2, 'the repetition')
  assert.equal(heard[0]?.body.event_id, heard[1]?.body.event_id)
  assert.equal(heard[1]?.retry_num, 1)
  silent = false
  const post = await emulator.waitForPosted(({ text }) => text === '*hello*')
  await until(() => emulator.pending === 0, 'the acknowledgement')
  assert.equal(post.channel, emulator.direct(PERSON).id)
  const command = emulator.command({ text: 'new', from: PERSON })
  await until(() => emulator.pending === 0, 'the command')
  assert.deepEqual(emulator.answerOf(command), { response_type: 'in_channel' })
  const press = emulator.press({ channel: post.channel, ts: post.ts, value: 'yes', from: PERSON })
  await until(() => heard.some(({ body }) => body.type === 'block_actions'), 'the press')
  assert.ok(press.id)
  // Asked to reconnect, it does.
  emulator.refresh(50)
  const before = heard.length
  emulator.say({ text: 'after the refresh', from: PERSON })
  await until(() => heard.length > before && emulator.pending === 0, 'what was said meanwhile', 20_000)
  await socket.disconnect()
})

test('the official Web API client posts, edits, streams and uploads', async () => {
  await using emulator = await createSlackEmulator({ echoes: false })
  const client = web(emulator)
  const me = await client.auth.test()
  assert.deepEqual([me.user_id, me.team_id], [emulator.me.user, emulator.team])
  const channel = emulator.know({ id: 'C0TEAM' }).id
  const said = emulator.say({ text: 'a question', channel, from: PERSON })
  const blocks = [
    { type: 'rich_text' as const, elements: [{ type: 'rich_text_section' as const, elements: [{ type: 'text' as const, text: 'a' }] }] },
  ]
  const metadata = { event_type: 'mark', event_payload: { key: '7' } }
  const posted = await client.chat.postMessage({ channel, thread_ts: said.ts, text: 'a', blocks, metadata })
  const ts = posted.ts ?? ''
  await client.chat.update({ channel, ts, text: 'b' })
  assert.equal(emulator.posted(channel)[0]?.text, 'b')
  const thread = await client.conversations.replies({ channel, ts: said.ts, include_all_metadata: true })
  assert.deepEqual(
    thread.messages?.map((message) => [message.ts, (message as { metadata?: unknown }).metadata]),
    [
      [said.ts, undefined],
      [ts, metadata],
    ],
  )
  const streamer = client.chatStream({
    channel,
    thread_ts: said.ts,
    recipient_user_id: PERSON,
    recipient_team_id: emulator.team,
    buffer_size: 1,
  })
  await streamer.append({ markdown_text: '**on' })
  await streamer.append({ markdown_text: 'e**' })
  await streamer.stop()
  const stream = emulator.posted(channel).at(-1)
  assert.deepEqual([stream?.text, stream?.streaming], ['**one**', 'completed'])
  await client.files.uploadV2({ channel_id: channel, thread_ts: said.ts, filename: 'a.txt', file: Buffer.from('bytes') })
  assert.equal(Buffer.from(emulator.posted(channel).at(-1)?.file?.bytes ?? []).toString(), 'bytes')
  await client.reactions.add({ channel, timestamp: said.ts, name: 'eyes' })
  assert.deepEqual(emulator.marks(channel, said.ts), ['eyes'])
  await client.views.publish({ user_id: PERSON, view: { type: 'home', blocks: [{ type: 'divider' }] } })
  assert.ok(emulator.home(PERSON))
  assert.ok(!JSON.stringify(emulator.ledger).includes(emulator.botToken), 'a token stands in the ledger')
})

test('workspaces install the app, each with a token that ends, as the official client has it', async () => {
  await using emulator = await createSlackEmulator({ echoes: false })
  const { oauth } = emulator
  emulator.redirectUrl = 'https://gateway.example/back'
  oauth.workspace = 'T0OTHER'
  const page = new URL(`${emulator.url.replace(/api$/, '')}oauth/v2/authorize`)
  page.search = new URLSearchParams({ client_id: oauth.clientId, scope: 'chat:write', state: 's' }).toString()
  const agreed = new URL((await fetch(page, { redirect: 'manual' })).headers.get('location') ?? '')
  assert.deepEqual([agreed.origin, agreed.searchParams.get('state')], ['https://gateway.example', 's'])
  const nobody = web(emulator, '')
  const app = { client_id: oauth.clientId, client_secret: oauth.clientSecret }
  const code = agreed.searchParams.get('code') ?? ''
  await assert.rejects(nobody.oauth.v2.access({ ...app, client_secret: 'wrong', code }), refused('bad_client_secret'))
  const installed = await nobody.oauth.v2.access({ ...app, code })
  assert.equal(installed.team?.id, 'T0OTHER')
  await assert.rejects(nobody.oauth.v2.access({ ...app, code }), refused('invalid_code'))
  const theirs = web(emulator, installed.access_token)
  assert.equal((await theirs.auth.test()).team_id, 'T0OTHER')
  await assert.rejects(theirs.chat.postMessage({ channel: emulator.know({ id: 'C0OURS' }).id, text: 'x' }), refused('channel_not_found'))
  await theirs.chat.postMessage({ channel: emulator.know({ id: 'C0THEIRS', team: 'T0OTHER' }).id, text: 'x' })
  oauth.expire()
  await assert.rejects(theirs.auth.test(), refused('token_expired'))
  const renewed = await nobody.oauth.v2.access({ ...app, grant_type: 'refresh_token', refresh_token: installed.refresh_token ?? '' })
  assert.equal((await web(emulator, renewed.access_token).auth.test()).team_id, 'T0OTHER')
  const again = nobody.oauth.v2.access({ ...app, grant_type: 'refresh_token', refresh_token: installed.refresh_token ?? '' })
  await assert.rejects(again, refused('invalid_refresh_token'))
})

test('refuses what Slack refuses, in its words', async () => {
  await using emulator = await createSlackEmulator({ echoes: false })
  const client = web(emulator)
  const channel = emulator.know({ id: 'C0TEAM' }).id
  const said = emulator.say({ text: 'x', channel })
  const post = (more: object) => client.chat.postMessage({ channel, ...more } as never)
  const section = (text: string) => [{ type: 'section', text: { type: 'mrkdwn', text } }]
  const rich = (...elements: object[]) => [{ type: 'rich_text', elements: [{ type: 'rich_text_section', elements }] }]
  const refusals: [Promise<unknown>, string][] = [
    [web(emulator, 'xoxb-wrong').auth.test(), 'invalid_auth'],
    [web(emulator, emulator.appToken).auth.test(), 'not_allowed_token_type'],
    [web(emulator, emulator.botToken).apps.connections.open(), 'not_allowed_token_type'],
    [client.apiCall('no.such'), 'unknown_method'],
    [client.chat.postMessage({ channel: 'C0NOBODY', text: 'x' }), 'channel_not_found'],
    [post({ text: '' }), 'no_text'],
    [post({ text: 'x', thread_ts: '1.000001' }), 'thread_not_found'],
    [post({ blocks: section('x'.repeat(3001)) }), 'invalid_blocks'],
    [post({ blocks: rich({ type: 'text', text: '' }) }), 'invalid_blocks'],
    [post({ blocks: rich({ type: 'link', url: './a' }) }), 'invalid_blocks'],
    [post({ blocks: rich({ type: 'text', text: 'x'.repeat(12_001) }) }), 'msg_blocks_too_long'],
    [post({ blocks: Array.from({ length: 51 }, () => ({ type: 'divider' })) }), 'invalid_blocks'],
    [post({ text: 'x', markdown_text: 'y' }), 'markdown_text_conflict'],
    [post({ text: 'x', metadata: { event_type: 'x' } }), 'invalid_metadata_format'],
    [client.chat.update({ channel, ts: '1.000001', text: 'x' }), 'message_not_found'],
    [client.chat.update({ channel, ts: said.ts, text: 'x' }), 'cant_update_message'],
    [client.apiCall('chat.startStream', { channel, thread_ts: said.ts }), 'missing_recipient_team_id'],
    [client.apiCall('chat.appendStream', { channel, ts: said.ts, markdown_text: 'x' }), 'cant_update_message'],
    [client.files.completeUploadExternal({ files: [{ id: 'F1' }], channel_id: channel }), 'file_not_found'],
    [client.reactions.remove({ channel, timestamp: said.ts, name: 'eyes' }), 'no_reaction'],
  ]
  for (const [call, code] of refusals) await assert.rejects(call, refused(code), code)
  const room = emulator.know({ id: 'C0OLD' })
  room.archived = true
  await assert.rejects(client.chat.postMessage({ channel: room.id, text: 'x' }), refused('is_archived'))
  room.archived = false
  room.member = false
  await assert.rejects(client.chat.postMessage({ channel: room.id, text: 'x' }), refused('not_in_channel'))
  emulator.failNext('chat.postMessage', { status: 429, retryAfter: 3 })
  await assert.rejects(post({ text: 'x' }), (error: unknown) => (error as { retryAfter?: number }).retryAfter === 3)
  emulator.revoke('bot')
  await assert.rejects(client.auth.test(), refused('token_revoked'))
})

test('calls an address with signatures, first with a question, then until it is answered', async () => {
  await using emulator = await createSlackEmulator({ retryDelay: 2, ackDeadline: 2000 })
  const got: { body: string; retry: string | undefined; signed: boolean }[] = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += String(chunk)
    const { headers } = request
    const base = `v0:${headers['x-slack-request-timestamp']}:${body}`
    const signed = headers['x-slack-signature'] === `v0=${createHmac('sha256', emulator.signingSecret).update(base).digest('hex')}`
    got.push({ body, retry: headers['x-slack-retry-num'] as string | undefined, signed })
    if (body.includes('url_verification')) response.end((JSON.parse(body) as { challenge: string }).challenge)
    else response.writeHead(got.length < 4 ? 500 : 200).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    await emulator.callAt(url)
    emulator.say('hello')
    await until(() => emulator.pending === 0, 'the acknowledgement')
    emulator.command({ text: 'a b' })
    await until(() => emulator.pending === 0, 'the command')
    assert.ok(got.every(({ signed }) => signed))
    assert.deepEqual(
      got.map(({ retry }) => retry),
      [undefined, undefined, '1', '2', undefined],
    )
    assert.equal(new URLSearchParams(got.at(-1)?.body).get('text'), 'a b')
    server.closeAllConnections()
    await assert.rejects(emulator.callAt(`${url.slice(0, -1)}1/`), /./)
  } finally {
    server.closeAllConnections()
    server.close()
  }
})

test('runs as a server of its own, with verbs for people without code', async () => {
  await using emulator = await startSlackEmulator({ host: '127.0.0.1', port: 0 })
  const verb = async (name: string, body: object) => {
    const response = await fetch(`${emulator.url.replace(/\/api$/, '')}/control/${name}`, { method: 'POST', body: JSON.stringify(body) })
    return { status: response.status, ...((await response.json()) as { result?: unknown }) }
  }
  assert.equal((await verb('say', { text: 'hello', from: PERSON })).status, 200)
  assert.equal(emulator.pending, 1)
  await web(emulator).chat.postMessage({ channel: emulator.direct(PERSON).id, text: 'answer' })
  assert.equal(((await verb('posted', {})).result as { text: string }[])[0]?.text, 'answer')
  assert.equal((await verb('nothing', {})).status, 404)
})
