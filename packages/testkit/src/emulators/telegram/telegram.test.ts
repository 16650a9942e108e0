import assert from 'node:assert/strict'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { Bot, GrammyError, InputFile } from 'grammy'
import { createTelegramEmulator, startTelegramEmulator, type TelegramEmulator, telegramFloods } from './index.ts'

const PERSON = 1001
const bot = (emulator: TelegramEmulator) => new Bot(emulator.token, { client: { apiRoot: emulator.url } })
const refusal = (code: number, description: RegExp) => (error: unknown) =>
  error instanceof GrammyError && error.error_code === code && description.test(error.description)

async function call(emulator: TelegramEmulator, method: string, params: object, token = emulator.token) {
  const response = await fetch(`${emulator.url}/bot${token}/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(params),
  })
  return {
    status: response.status,
    ...((await response.json()) as { ok: boolean; result?: unknown; description?: string; error_code?: number }),
  }
}

test('a grammY bot talks with people over long polling', async () => {
  await using emulator = await createTelegramEmulator()
  const echo = bot(emulator)
  echo.command('start', (context) => context.reply('welcome'))
  echo.on('message:text', (context) => context.reply(`<b>${context.message.text}</b>`, { parse_mode: 'HTML' }))
  echo.on('edited_message:text', (context) => context.reply(`edited: ${context.editedMessage.text}`))
  echo.on('callback_query:data', async (context) => {
    await context.answerCallbackQuery()
    await context.reply(`pressed ${context.callbackQuery.data}`)
  })
  const started = Promise.withResolvers<void>()
  const running = echo.start({ onStart: () => started.resolve() })
  await started.promise

  emulator.say('/start')
  const welcome = await emulator.waitForPosted((message) => message.text === 'welcome')
  const said = emulator.say({ text: 'hello', from: { id: PERSON, first_name: 'Ann' } })
  const bold = await emulator.waitForPosted((message) => message.text === 'hello')
  assert.deepEqual(bold.entities, [{ type: 'bold', offset: 0, length: 5 }])
  emulator.edit(said, { text: 'hullo' })
  await emulator.waitForPosted((message) => message.text === 'edited: hullo')
  emulator.press({ data: 'yes', chat: PERSON, message: welcome.message_id })
  await emulator.waitForPosted((message) => message.text === 'pressed yes')

  await echo.stop()
  await running
  assert.equal(emulator.pending, 0)
  assert.deepEqual(
    emulator.posted(PERSON).map((message) => message.text),
    ['welcome', 'hello', 'edited: hullo', 'pressed yes'],
  )
})

test('uploads and downloads through grammY, within the limits', async () => {
  await using emulator = await createTelegramEmulator()
  const { api } = bot(emulator)
  emulator.know(PERSON)
  const bytes = Buffer.from('some\r\n--bytes\0here')
  const sent = await api.sendDocument(PERSON, new InputFile(bytes, 'notes ä.txt'), { caption: '<i>notes</i>', parse_mode: 'HTML' })
  const [posted] = emulator.posted()
  assert.equal(posted?.text, 'notes')
  assert.deepEqual(Buffer.from(posted?.file?.bytes ?? []), bytes)
  const file = await api.getFile(sent.document.file_id)
  const download = await fetch(`${emulator.url}/file/bot${emulator.token}/${file.file_path}`)
  assert.deepEqual(Buffer.from(await download.arrayBuffer()), bytes)

  await assert.rejects(api.sendPhoto(PERSON, new InputFile(Buffer.alloc(10 * 1024 * 1024 + 1), 'a.png')), refusal(413, /Too Large/))
  await assert.rejects(
    api.sendDocument(PERSON, new InputFile(bytes, 'a'), { caption: 'x'.repeat(1025) }),
    refusal(400, /caption is too long/),
  )
  await assert.rejects(api.sendDocument(PERSON, new InputFile(Buffer.alloc(53 * 1024 * 1024), 'a')), refusal(413, /Too Large/))
  const said = emulator.say({ document: { size: 20 * 1024 * 1024 + 1 } })
  await assert.rejects(api.getFile(said.message.document?.file_id ?? ''), refusal(400, /file is too big/))
})

test('refuses what Telegram refuses, in its words', async () => {
  await using emulator = await createTelegramEmulator()
  emulator.know(PERSON)
  const send = (params: object) => call(emulator, 'sendMessage', { chat_id: PERSON, ...params })
  const html = (text: string) => send({ text, parse_mode: 'HTML' })
  const cases: [Promise<{ description?: string; error_code?: number }>, number, RegExp][] = [
    [call(emulator, 'getMe', {}, '1:wrong'), 401, /^Unauthorized$/],
    [call(emulator, 'getMe', {}, 'nonsense'), 404, /^Not Found$/],
    [call(emulator, 'sendNothing', {}), 404, /method not found/],
    [send({ chat_id: 5, text: 'x' }), 400, /^Bad Request: chat not found$/],
    [send({ chat_id: '', text: 'x' }), 400, /chat_id is empty/],
    [send({ text: '' }), 400, /^Bad Request: message text is empty$/],
    [send({ text: ' \u200b\n ' }), 400, /text must be non-empty/],
    [send({ text: 'x'.repeat(4097) }), 400, /^Bad Request: message is too long$/],
    [html(`<b>${'x'.repeat(4097)}</b>`), 400, /message is too long/],
    [html('<h1>x</h1>'), 400, /can't parse entities: Unsupported start tag "h1" at byte offset 0/],
    [html('é<b>x'), 400, /Can't find end tag corresponding to start tag "b"/],
    [html('é<b>x</i>'), 400, /Unmatched end tag at byte offset 6, expected "<\/b>", found "<\/i>"/],
    [html('x</b>'), 400, /Unexpected end tag at byte offset 1/],
    [html('a < b'), 400, /Unsupported start tag|Unclosed start tag/],
    [html('<a href="x'), 400, /Unclosed start tag/],
    [html('<span class="x">y</span>'), 400, /must have class "tg-spoiler"/],
    [send({ text: 'x', parse_mode: 'MarkdownV2' }), 400, /reads parse_mode HTML only/],
    [send({ text: 'x', reply_parameters: { message_id: 99 } }), 400, /message to be replied not found/],
    [send({ text: 'x', message_thread_id: 7 }), 400, /message thread not found/],
    [call(emulator, 'editMessageText', { chat_id: PERSON, message_id: 99, text: 'x' }), 400, /message to edit not found/],
    [call(emulator, 'answerCallbackQuery', { callback_query_id: '1' }), 400, /query is too old/],
    [call(emulator, 'setWebhook', { url: 'http://example.com' }), 400, /HTTPS URL must be provided/],
  ]
  for (const [answer, code, description] of cases) {
    const { error_code, description: words = '' } = await answer
    assert.equal(error_code, code, words)
    assert.match(words, description)
  }
  assert.equal(emulator.posted().length, 0)
  const fits = await html(`<b>${'x'.repeat(4095)}</b>&lt;`)
  assert.equal(fits.ok, true)
  const first = await send({ text: 'one' })
  const id = (first.result as { message_id: number }).message_id
  const again = await call(emulator, 'editMessageText', { chat_id: PERSON, message_id: id, text: 'one' })
  assert.match(again.description ?? '', /^Bad Request: message is not modified: /)
})

test('reads HTML as Telegram does', async () => {
  await using emulator = await createTelegramEmulator()
  emulator.know(PERSON)
  await call(emulator, 'sendMessage', {
    chat_id: PERSON,
    parse_mode: 'HTML',
    text: ' <b>a<i>&lt;&#128512;</i></b> <a href="https://e.example/?a=1&amp;b">l</a> <a href="http://nohost">n</a> <pre><code class="language-js">c</code></pre>&unknown;\u202e ',
  })
  const [posted] = emulator.posted()
  assert.equal(posted?.text, 'a<😀 l n c&unknown;')
  assert.deepEqual(posted?.entities, [
    { type: 'bold', offset: 0, length: 4 },
    { type: 'italic', offset: 1, length: 3 },
    { type: 'text_link', offset: 5, length: 1, url: 'https://e.example/?a=1&b' },
    { type: 'pre', offset: 9, length: 1, language: 'js' },
  ])
})

test('one poller at a time, and no polling beside a webhook', async () => {
  await using emulator = await createTelegramEmulator()
  // Whichever of the two comes first loses its poll to the other.
  const both = [call(emulator, 'getUpdates', { timeout: 1 }), call(emulator, 'getUpdates', { timeout: 1 })]
  const second = await Promise.all(both)
  const lost = second.find((answer) => answer.error_code === 409)
  assert.match(
    lost?.description ?? '',
    /^Conflict: terminated by other getUpdates request; make sure that only one bot instance is running$/,
  )
  await call(emulator, 'setWebhook', { url: 'http://127.0.0.1:9/' })
  assert.match((await call(emulator, 'getUpdates', {})).description ?? '', /^Conflict: can't use getUpdates method while webhook is active/)
  await call(emulator, 'deleteWebhook', {})
  assert.equal((await call(emulator, 'getUpdates', {})).ok, true)
})

test('an update stays until a higher offset confirms it, and can be redelivered', async () => {
  await using emulator = await createTelegramEmulator()
  const ids = ['one', 'two'].map((text) => emulator.say(text).update_id)
  const poll = async (offset: number) =>
    ((await call(emulator, 'getUpdates', { offset })).result as { update_id: number }[]).map((update) => update.update_id)
  assert.deepEqual(await poll(0), ids)
  assert.deepEqual(await poll(0), ids)
  assert.deepEqual(await poll((ids[0] ?? 0) + 1), [ids[1]])
  assert.deepEqual(await poll((ids[1] ?? 0) + 1), [])
  emulator.redeliver(ids[0] ?? 0)
  assert.deepEqual(await poll((ids[1] ?? 0) + 1), [ids[0]])
  assert.deepEqual(await poll((ids[1] ?? 0) + 1), [])
})

test('calls the addresses behind the name of a webhook in turn', async () => {
  const calls = [0, 0]
  const servers = calls.map((_, index) =>
    createServer((request, response) => {
      calls[index] = (calls[index] ?? 0) + 1
      request.resume()
      response.writeHead(200).end()
    }).listen(0, '127.0.0.1'),
  )
  await using emulator = await createTelegramEmulator({
    addresses: () => servers.map((server) => `127.0.0.1:${(server.address() as AddressInfo).port}`),
  })
  await call(emulator, 'setWebhook', { url: 'http://127.0.0.1:1/hook' })
  for (let index = 0; index < 10; index++) emulator.say({ text: String(index), from: PERSON + index })
  while (emulator.pending > 0) await new Promise((resolve) => setImmediate(resolve))
  for (const server of servers) {
    server.closeAllConnections()
    server.close()
  }
  assert.deepEqual(calls, [5, 5])
})

test('pushes to a webhook with the secret, in order per chat, until it is taken', async () => {
  const seen: { text: string; secret: unknown }[] = []
  let refusals = 2
  const server = createServer((request: IncomingMessage, response) => {
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      if (refusals-- > 0) return response.writeHead(503).end()
      seen.push({ text: JSON.parse(body).message.text, secret: request.headers['x-telegram-bot-api-secret-token'] })
      return response.writeHead(200).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  await using emulator = await createTelegramEmulator({ retryDelay: 1 })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`
  await call(emulator, 'setWebhook', { url, secret_token: 'shh', max_connections: 2 })
  for (let index = 0; index < 20; index++) emulator.say({ text: String(index), from: PERSON + (index % 2) })
  const info = async () =>
    (await call(emulator, 'getWebhookInfo', {})).result as { pending_update_count: number; last_error_message?: string }
  while ((await info()).pending_update_count > 0) await new Promise((resolve) => setImmediate(resolve))
  const parity = (rest: number) => seen.map(({ text }) => Number(text)).filter((number) => number % 2 === rest)
  assert.deepEqual(
    parity(0),
    parity(0).toSorted((a, b) => a - b),
  )
  assert.deepEqual(
    parity(1),
    parity(1).toSorted((a, b) => a - b),
  )
  assert.equal(seen.length, 20)
  assert.ok(seen.every(({ secret }) => secret === 'shh'))
  assert.match((await info()).last_error_message ?? '', /Wrong response from the webhook: 503/)
  server.closeAllConnections()
  server.close()
})

test('fails, drops, delays and floods on demand', async () => {
  await using emulator = await createTelegramEmulator({ floods: telegramFloods })
  emulator.know(PERSON)
  emulator.know(PERSON + 1)
  const send = (chat: number) => call(emulator, 'sendMessage', { chat_id: chat, text: 'x' })
  emulator.failNext('sendMessage', { status: 500, description: 'Internal Server Error', times: 2 })
  assert.deepEqual([(await send(PERSON)).status, (await send(PERSON)).status, (await send(PERSON)).status], [500, 500, 200])
  const flood = (await send(PERSON)) as { status: number; parameters?: { retry_after: number }; description?: string }
  assert.deepEqual([flood.status, flood.parameters?.retry_after, flood.description], [429, 1, 'Too Many Requests: retry after 1'])
  emulator.dropReplyOf('sendMessage')
  await assert.rejects(send(PERSON + 1), TypeError)
  assert.equal(emulator.posted(PERSON + 1).length, 1)
  emulator.failNext('getMe', { status: 502, body: '<html>Bad Gateway</html>' })
  const response = await fetch(`${emulator.url}/bot${emulator.token}/getMe`)
  assert.deepEqual([response.status, await response.text()], [502, '<html>Bad Gateway</html>'])
  emulator.block(PERSON)
  assert.match((await send(PERSON)).description ?? '', /^Forbidden: bot was blocked by the user$/)
  assert.deepEqual(
    emulator.ledger.map(({ method, outcome }) => `${method} ${outcome.code}${outcome.dropped ? ' dropped' : ''}`),
    ['sendMessage 500', 'sendMessage 500', 'sendMessage 200', 'sendMessage 429', 'sendMessage 200 dropped', 'getMe 502', 'sendMessage 403'],
  )
})

test('delays an answer without holding others', async () => {
  await using emulator = await createTelegramEmulator()
  emulator.know(PERSON)
  emulator.delay('sendMessage', 50)
  const order: string[] = []
  const slow = call(emulator, 'sendMessage', { chat_id: PERSON, text: 'slow' }).then(() => order.push('slow'))
  await emulator.waitForPosted((message) => message.text === 'slow')
  await call(emulator, 'getMe', {}).then(() => order.push('fast'))
  await slow
  assert.deepEqual(order, ['fast', 'slow'])
})

test('commands are checked', async () => {
  await using emulator = await createTelegramEmulator()
  const { api } = bot(emulator)
  assert.equal(await api.setMyCommands([{ command: 'new', description: 'Start anew' }]), true)
  await assert.rejects(api.setMyCommands([{ command: 'New', description: 'x' }]), refusal(400, /BOT_COMMAND_INVALID/))
})

test('stands alone with its verbs over HTTP', async () => {
  await using emulator = await startTelegramEmulator({ host: '127.0.0.1', port: 0, token: '1:A' })
  const said = await fetch(`${emulator.url}/control/say`, { method: 'POST', body: JSON.stringify({ text: 'hi', from: PERSON }) })
  assert.equal(((await said.json()) as { result: { message: { text: string } } }).result.message.text, 'hi')
  await call(emulator, 'sendMessage', { chat_id: PERSON, text: 'hello' })
  const posted = await fetch(`${emulator.url}/control/posted?chat=${PERSON}`)
  assert.equal(((await posted.json()) as { result: { text: string }[] }).result[0]?.text, 'hello')
})
