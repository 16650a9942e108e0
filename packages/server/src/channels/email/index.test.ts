/** The channel against a real IMAP server, and an SMTP server that fails on demand. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type Connection, DeliveryError, type DeliveryFailure, type FileRef, type Place, PosthouseError, textOf } from '@posthouse/contract'
import { type ChannelHarness, channelBehaviours, until, whyNot } from '@posthouse/testkit'
import { hostileMails } from '../../../test/mail/hostile.ts'
import { type MailServers, noMailServers, startMailServers } from '../../../test/mail/servers.ts'
import { OURS, PERSON, ROOT, startWorld, type World } from '../../../test/mail/world.ts'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { email } from './index.ts'
import type { EmailSettings } from './settings.ts'

// With CI=true a missing backend is a failure, not a skip.
const options = noMailServers !== undefined && process.env.CI !== 'true' ? { skip: noMailServers } : {}

let servers: MailServers
let tokens: TokenServer
before(async () => {
  if (options.skip) return
  tokens = await startTokenServer()
  servers = await startMailServers({ addresses: OURS, tokenInfo: `${tokens.url}/info` })
})
after(async () => {
  await servers?.[Symbol.asyncDispose]()
  await tokens?.[Symbol.asyncDispose]()
})

const neverFails: readonly DeliveryFailure[] = ['conflict']
const cannot = { takeOver: 'several programs may read one mailbox' }
const harness = (mode: EmailSettings['mode']): ChannelHarness => ({
  capabilities: email.capabilities,
  neverFails,
  cannot,
  start: () => startWorld(servers, mode),
})

describe('the channel suite', options, () => {
  for (const mode of ['idle', 'polling'] as const) {
    for (const behaviour of channelBehaviours) {
      test(`${mode}: ${behaviour.name}`, { skip: whyNot(behaviour, harness(mode)) }, () => behaviour.run(harness(mode)))
    }
  }
})

const sending = (key = 'k') => ({ idempotencyKey: key, signal: new AbortController().signal })
const said = (world: World) => world.host.inbox.map((message) => textOf(message.parts))

async function answer(world: World, connection: Connection, text: string, replyTo?: string, to: Place = world.place) {
  const message = { id: 'm', to, text, document: parseMarkdown(text), ...(replyTo ? { replyTo } : {}) }
  for (const piece of connection.render(message)) await connection.send(piece, to, sending())
}

describe('mails that break mail programs', options, () => {
  test('each is read or flagged, once, and none stops those behind it', async () => {
    await using world = await startWorld(servers)
    for (const [index, { raw }] of hostileMails.entries()) {
      const id = Buffer.from(`Message-ID: <${index}@hostile>\r\n`)
      servers.deliver(
        world.address,
        Buffer.concat([id, Buffer.from(String(raw).length > 0 && typeof raw === 'string' ? raw.replace(/\r?\n/g, '\r\n') : raw)]),
      )
    }
    world.platform.say('the last one')
    await using _connection = await world.open()
    await until(() => said(world).includes('the last one'), 'the mail behind them all', 30_000)
    await until(() => world.platform.unacknowledged() === 0, 'all are marked', 10_000)
    for (const [index, { name, text, files }] of hostileMails.entries()) {
      const found = world.host.inbox.find(({ id }) => id.includes(`<${index}@hostile>`))
      const { flags } = servers.mails(world.address)[index] as { flags: string }
      assert.equal(found !== undefined, text !== undefined, `${name}: ${found ? 'admitted' : 'turned away'}`)
      // Maildir: F for flagged, S for seen.
      assert.equal(flags, text === undefined ? 'FS' : 'S', name)
      if (!found || !text) continue
      assert.match(textOf(found.parts), text, name)
      const names = found.parts.flatMap((part) => (part.type === 'file' ? [part.file.name] : []))
      if (files) assert.deepEqual(names, files, name)
      assert.ok(!/[\p{Cc}\u202e]/u.test(names.join('')), name)
    }
    assert.equal(world.host.attempts.length, world.host.inbox.length, 'none is read twice')
    const turnedAway = hostileMails.filter(({ text }) => text === undefined).length
    await until(() => world.host.reports.at(-1)?.problem?.includes(`and ${turnedAway} could not be read`) === true, 'the operator is told')
    assert.ok(
      world.host.said.every((line) => !line.includes(PERSON)),
      'no address is logged',
    )
  })

  test('a mail that breaks the connection each time is given up', async () => {
    await using world = await startWorld(servers)
    // Longer than a line of the protocol may be.
    const name = `name=a; filename="${'x'.repeat(9_000_000)}"`
    world.mail(
      [`From: ${PERSON}`, 'MIME-Version: 1.0', 'Content-Type: multipart/mixed; boundary=b'],
      `--b\nContent-Disposition: attachment; ${name}\n\nx\n--b--\n`,
    )
    world.platform.say('behind it')
    await using _connection = await world.open()
    await until(() => said(world).includes('behind it'), 'the mail behind it', 30_000)
    await until(() => world.platform.unacknowledged() === 0, 'both are marked')
    assert.ok(
      world.host.said.some((line) => line.includes('the connection broke each time')),
      world.host.said.join('\n'),
    )
  })

  test('mails of programs are marked and not answered', async () => {
    await using world = await startWorld(servers)
    world.mail([`From: ${PERSON}`, 'Auto-Submitted: auto-replied', 'Message-ID: <1@a>'], 'out of office')
    world.mail(['From: MAILER-DAEMON@example.com', 'Content-Type: multipart/report; boundary=b'], 'undeliverable')
    world.platform.say('a person')
    await using _connection = await world.open()
    await until(() => said(world).includes('a person') && world.platform.unacknowledged() === 0, 'the person')
    assert.equal(world.host.attempts.length, 1)
  })

  test('without proof of the sender nothing is taken, and the operator sees it', async () => {
    await using world = await startWorld(servers)
    const results = (id: string) => `Authentication-Results: ${id}; dmarc=pass header.from=example.com`
    world.mail([`From: ${PERSON}`, 'Subject: Re: a'], 'forged')
    world.mail([results('mx.evil.test'), `From: ${PERSON}`, 'Subject: Re: a'], 'forged with a stamp')
    world.mail([results('mx.mail.test'), `From: ${PERSON}`, 'Subject: Re: a'], 'proven')
    await using _connection = await world.open({ trust_sender: false, authserv_id: 'mx.mail.test' })
    await until(() => world.host.inbox.length > 0 && world.platform.unacknowledged() === 0, 'the proven one')
    assert.deepEqual(said(world), ['proven'])
    await until(() => world.host.reports.at(-1)?.problem?.includes('2 mails came without proof') === true, 'the report')
  })
})

describe('the mailbox', options, () => {
  test('a subject is the first line of a new thread, and of its answer; the answer refers to its question', async () => {
    await using world = await startWorld(servers)
    world.mail([`From: ${PERSON}`, 'Subject: Which way?', `Message-ID: ${ROOT}`], 'To Luoyang.')
    await using connection = await world.open()
    await until(() => world.host.inbox.length === 1, 'the mail')
    const [message] = world.host.inbox
    assert.deepEqual(said(world), ['Which way?\n\nTo Luoyang.'])
    assert.deepEqual(message?.place, { ...world.place, title: 'Which way?' })
    await answer(world, connection, 'West.', message?.id, message?.place)
    const { mail, to } = world.sink.taken[0] as World['sink']['taken'][number]
    assert.equal(to, PERSON)
    assert.equal(mail.subject, 'Re: Which way?')
    assert.equal(mail.inReplyTo, ROOT)
    world.mail(
      [`From: ${PERSON}`, 'Subject: Re: Which way?', 'Message-ID: <2@x>', `In-Reply-To: ${mail.messageId}`],
      'Thanks.\n\nOn 1 Jan 2025 Bot wrote:\n> West.',
    )
    await until(() => world.host.inbox.length === 2, 'the second mail')
    assert.equal(said(world)[1], 'Thanks.')
    assert.deepEqual(world.host.inbox[1]?.place.thread, message?.place.thread)
  })

  test('another UIDVALIDITY means that all is looked at again, and admitted once; files are still found', async () => {
    await using world = await startWorld(servers)
    await using connection = await world.open()
    world.platform.say('before')
    world.mail([`From: ${PERSON}`, 'Message-ID: <file@x>', 'Content-Type: application/pdf; name=a.pdf'], 'the file')
    await until(() => world.host.inbox.length === 2 && world.platform.unacknowledged() === 0, 'the first mails')
    const file = world.host.inbox[1]?.parts.find((part) => part.type === 'file')
    await servers.stopImap()
    servers.unread(world.address)
    world.platform.say('meanwhile')
    await servers.startImap({ forgetUids: true })
    await until(() => said(world).includes('meanwhile') && world.platform.unacknowledged() === 0, 'all is read again')
    assert.equal(world.host.inbox.length, 3)
    assert.ok(world.host.reports.some(({ state }) => state === 'degraded'))
    await until(() => world.host.reports.at(-1)?.state === 'connected', 'health is told')
    assert.ok(file?.type === 'file')
    assert.equal((await readWhole(connection, file.file)).trim(), 'the file')
  })

  test('a server without IDLE is asked instead', async () => {
    await servers.stopImap()
    await servers.startImap({ idle: false })
    try {
      await using world = await startWorld(servers)
      await using _connection = await world.open({ mode: 'idle', poll_interval: 50 })
      await until(() => world.host.reports.at(-1)?.state === 'connected', 'the connection')
      world.platform.say('anybody there?')
      await until(() => world.host.inbox.length === 1, 'the mail')
    } finally {
      await servers.stopImap()
      await servers.startImap()
    }
  })

  test('another mark, and another mailbox for what was taken; its files are still found', async () => {
    await using world = await startWorld(servers)
    world.platform.sayFile?.(Buffer.from('the file'))
    await using connection = await world.open({ processed_flag: '$Posthouse', move_to: 'Done' })
    await until(() => servers.mails(world.address, 'Done').length === 1 && servers.mails(world.address).length === 0, 'the mail is moved')
    assert.doesNotMatch(servers.mails(world.address, 'Done')[0]?.flags ?? '', /S/)
    const file = world.host.inbox[0]?.parts.find((part) => part.type === 'file')
    // Without a Message-ID nobody finds it there.
    assert.ok(file?.type === 'file')
    await assert.rejects(readWhole(connection, file.file), (error: unknown) => error instanceof DeliveryError && error.kind === 'not-found')
    world.mail([`From: ${PERSON}`, 'Message-ID: <f@x>', 'Content-Type: application/pdf; name=a.pdf'], 'content')
    await until(() => servers.mails(world.address, 'Done').length === 2, 'the second is moved')
    const second = world.host.inbox[1]?.parts.find((part) => part.type === 'file')
    assert.ok(second?.type === 'file')
    assert.equal((await readWhole(connection, second.file)).trim(), 'content')
  })

  test('what was there an hour before the account was opened first is left alone', async () => {
    await using world = await startWorld(servers)
    await world.host.state.set('since', String(Date.now() + 60_000))
    world.platform.say('old')
    await using _connection = await world.open({ mode: 'polling', poll_interval: 10 })
    await until(() => world.host.signs > 5, 'some looks')
    assert.equal(world.host.attempts.length, 0)
    assert.equal(world.platform.unacknowledged(), 1)
  })

  test('a mailbox that is not there is named', async () => {
    await using world = await startWorld(servers)
    await using _connection = await world.open({ mailbox: 'Nowhere' })
    await until(() => world.host.reports.some(({ problem }) => problem?.includes('no such mailbox') === true), 'the report')
  })

  test('a lost confirmation is cleared up in the mailbox of sent mails', async () => {
    await using world = await startWorld(servers)
    await using connection = await world.open({ sent_mailbox: 'Sent', save_sent: true })
    const [piece] = connection.render({ id: 'm', to: world.place, text: 'x', document: parseMarkdown('x') })
    assert.ok(piece && connection.reconcile)
    assert.equal(await connection.reconcile(piece, world.place, sending('k')), 'unknown')
    await connection.send(piece, world.place, sending('k'))
    await until(() => servers.mails(world.address, 'Sent').length === 1, 'the copy')
    assert.equal(await connection.reconcile(piece, world.place, sending('k')), 'sent')
    assert.equal(await connection.reconcile(piece, world.place, sending('another')), 'unknown')
    await using plain = await world.open()
    assert.equal(plain.reconcile, undefined)
  })

  test('answers share a connection', async () => {
    await using world = await startWorld(servers)
    await using connection = await world.open()
    for (let index = 0; index < 5; index++) await answer(world, connection, `answer ${index}`)
    assert.equal(world.sink.taken.length, 5)
    assert.equal(world.sink.connections, 1)
  })
})

describe('encryption', options, () => {
  const ports = (kind: 'port' | 'tlsPort') => ({ imap: servers.imap[kind], smtp: servers.smtp[kind] })
  for (const [security, kind] of [
    ['tls', 'tlsPort'],
    ['starttls', 'port'],
  ] as const) {
    test(`${security}: our own authority is believed, another is not`, async () => {
      await using world = await startWorld(servers)
      const { imap, smtp } = ports(kind)
      const at = { imap: { host: 'localhost', port: imap, security }, smtp: { host: 'localhost', port: smtp, security } }
      assert.equal((await world.probe({ ...at, tls_ca: servers.ca }))?.id, world.address)
      await assert.rejects(world.probe(at), (error: unknown) => error instanceof DeliveryError && error.kind === 'transient')
      await using _connection = await world.open({ ...at, tls_ca: servers.ca })
      world.platform.say('in secret')
      await until(() => world.host.inbox.length === 1, 'the mail')
    })
  }
  test('starttls is never done without', async () => {
    await using world = await startWorld(servers)
    const smtp = { host: '127.0.0.1', port: world.sink.port, security: 'starttls' as const }
    await using connection = await world.open({ smtp, tls_ca: servers.ca })
    await assert.rejects(answer(world, connection, 'x'), (error: unknown) => error instanceof DeliveryError && error.kind === 'transient')
    assert.equal(world.sink.taken.length, 0)
  })
})

describe('OAuth2', options, () => {
  const oauth = () => ({
    token_url: `${tokens.url}/token`,
    client_id: 'id',
    client_secret: 'the client secret',
    refresh_token: 'refresh-0',
  })
  const withTokens = async () => {
    const world = await startWorld(servers)
    tokens.owner = world.address
    const open = () => world.open({ oauth: oauth(), password: undefined } as never)
    return { world, open }
  }

  test('signs in at both servers, renews early, and keeps the newest refresh token', async () => {
    const { world, open } = await withTokens()
    await using _world = world
    tokens.life = 3600
    tokens.refused = false
    const asked = tokens.asked.length
    {
      await using connection = await open()
      world.platform.say('by token')
      await until(() => world.host.inbox.length === 1, 'the mail')
      await answer(world, connection, 'yes')
      assert.equal(world.sink.taken.length, 1)
      assert.equal(tokens.asked.length - asked, 1, 'one token for both')
    }
    // A token that ends at once is renewed for each connection.
    tokens.life = 0
    await using connection = await open()
    await answer(world, connection, 'again')
    await until(() => world.host.reports.at(-1)?.state === 'connected', 'the mailbox')
    assert.equal(tokens.asked.at(-1), 'refresh-1', 'the refresh token that came with the first one')
    const before = tokens.asked.length
    await servers.stopImap()
    await servers.startImap()
    await until(() => tokens.asked.length > before, 'another connection has another token')
    for (const secret of ['the client secret', 'refresh-', 'access-']) assert.ok(!world.host.said.some((line) => line.includes(secret)))
  })

  test('a refused refresh token is a matter of signing in anew', async () => {
    const { world, open } = await withTokens()
    await using _world = world
    tokens.refused = true
    await using connection = await open()
    await until(
      () => world.host.reports.some(({ state, problem }) => state === 'needs-auth' && problem?.includes('invalid_grant')),
      'the report',
    )
    await assert.rejects(answer(world, connection, 'x'), (error: unknown) => error instanceof DeliveryError && error.kind === 'auth')
    tokens.refused = false
    await until(() => world.host.reports.at(-1)?.state === 'connected', 'it is tried again')
  })
})

async function readWhole(connection: Connection, file: FileRef, limit = 1e6): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of (await connection.download?.(file, limit, new AbortController().signal)) ?? []) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

test('a large file is streamed', options, async () => {
  await using world = await startWorld(servers)
  const size = 50 * 1024 * 1024
  world.platform.sayFile?.(Buffer.alloc(size, 'posthouse'))
  await using connection = await world.open()
  await until(() => world.host.inbox.length === 1, 'the mail', 30_000)
  const file = world.host.inbox[0]?.parts.find((part) => part.type === 'file')
  assert.ok(file?.type === 'file')
  // Bytes that are still held are what is counted, not what is yet to be collected.
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  collect()
  const before = process.memoryUsage().arrayBuffers
  let most = 0
  let bytes = 0
  let looked = 0
  for await (const chunk of (await connection.download?.(file.file, size, new AbortController().signal)) ?? []) {
    bytes += chunk.length
    if (bytes - looked < 5 * 1024 * 1024) continue
    looked = bytes
    collect()
    most = Math.max(most, process.memoryUsage().arrayBuffers - before)
  }
  assert.equal(bytes, size)
  assert.ok(most < size / 2, `${most} bytes were held`)
  await assert.rejects(
    readWhole(connection, file.file, size - 1),
    (error: unknown) => error instanceof PosthouseError && error.code === 'too-large',
  )
})

interface TokenServer extends AsyncDisposable {
  readonly url: string
  /** Refresh tokens that were shown, in order. */
  readonly asked: readonly string[]
  /** Whose mailbox a token opens. */
  owner: string
  life: number
  refused: boolean
}

/** Gives out tokens, and tells Dovecot whose they are. */
async function startTokenServer(): Promise<TokenServer> {
  const asked: string[] = []
  const state = { owner: '', life: 3600, refused: false }
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '/', 'http://x')
    let body = ''
    for await (const chunk of request) body += chunk
    const reply = (status: number, data: object) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(data))
    if (url.pathname === '/token') {
      const form = new URLSearchParams(body)
      asked.push(form.get('refresh_token') ?? '')
      if (state.refused) reply(400, { error: 'invalid_grant' })
      else reply(200, { access_token: `access-${asked.length}`, expires_in: state.life, refresh_token: 'refresh-1' })
    } else if (url.searchParams.get('access_token')?.startsWith('access-')) reply(200, { email: state.owner, expires_in: 100 })
    else reply(401, {})
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  return Object.assign(state, {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  })
}
