/** E-mail as people use it: a real gateway process between a real SMTP server and a real IMAP server. People's mailboxes are the judges. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { createModelEmulator } from '@posthouse/testkit'
import { createTransport } from 'nodemailer'
import PostalMime, { type Email } from 'postal-mime'
import { type MailServers, noMailServers, startMailServers } from '../mail/servers.ts'
import { mutants } from './mutants.ts'
import { createPosthouse, type Posthouse, until } from './posthouse.ts'

const BOT = 'bot@mail.test'
const ANN = 'ann@people.test'
const EVE = 'eve@people.test'

interface Scene {
  readonly mail: MailServers
  readonly posthouse: Posthouse
  readonly env: NodeJS.ProcessEnv
  write(from: string, mail: { subject?: string; text: string; inReplyTo?: string; references?: string }): Promise<string>
  /** Mails that a person got, oldest first. */
  got(address: string): Promise<readonly Email[]>
  hears(address: string, count: number): Promise<readonly Email[]>
}

async function inScene(play: (scene: Scene) => Promise<void>): Promise<void> {
  await using mail = await startMailServers({ addresses: [BOT, ANN, EVE] })
  await using model = await createModelEmulator({ keys: 'any', models: 'any' })
  const server = { host: 'localhost', security: 'tls' }
  await using posthouse = createPosthouse({
    models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
    channels: {
      desk: {
        type: 'email',
        address: BOT,
        name: 'The desk',
        password: mail.password,
        imap: { ...server, port: mail.imap.tlsPort },
        smtp: { ...server, port: mail.smtp.tlsPort },
        tls_ca: '${' + 'file:ca.pem}',
        authserv_id: 'mail.test',
        allowed_users: [ANN],
      },
    },
  })
  writeFileSync(join(posthouse.folder, 'ca.pem'), mail.ca)
  const got = async (address: string) => Promise.all(mail.mails(address).map(({ bytes }) => PostalMime.parse(bytes)))
  await play({
    mail,
    posthouse,
    env: {},
    got,
    async write(from, { text, ...fields }) {
      const transport = createTransport({
        host: 'localhost',
        port: mail.smtp.port,
        requireTLS: true,
        tls: { ca: mail.ca },
        auth: { user: from, pass: mail.password },
      })
      const { messageId } = await transport.sendMail({ from, to: BOT, text, ...fields })
      transport.close()
      return messageId
    },
    async hears(address, count) {
      await until(async () => (await got(address)).length >= count, `${count} mails for ${address}`)
      return await got(address)
    },
  })
}

const crash = (when: 'before' | 'after', mutant?: string) => ({
  NODE_OPTIONS: `--import ${pathToFileURL(join(import.meta.dirname, 'crash-in-mail.ts')).href}`,
  CRASH_IN_MAIL: when,
  ...(mutant === undefined ? {} : { POSTHOUSE_MUTANT: mutant }),
})

/** A mail, a crash on one side of its commit, a start; answers how many answers the person got. */
async function crashRun(when: 'before' | 'after', mutant?: string): Promise<number> {
  let answers = 0
  await inScene(async ({ mail, posthouse, write, got }) => {
    await write(ANN, { subject: 'Hi', text: 'once' })
    await until(() => mail.unseen(BOT) === 1, 'the mail lies in the mailbox')
    await posthouse.start(crash(when, mutant))
    await posthouse.exited()
    await posthouse.start(mutant === undefined ? {} : { POSTHOUSE_MUTANT: mutant })
    await until(() => mail.unseen(BOT) === 0, 'the mail is marked')
    // What would come twice, or after all, comes before the answer to a later mail.
    await write(ANN, { subject: 'Then', text: 'and then' })
    const answersTo = async (text: string) => (await got(ANN)).filter((answer) => answer.text?.includes(`You said: ${text}`)).length
    await until(async () => (await answersTo('Then')) > 0, 'the later answer')
    answers = await answersTo('Hi')
  })
  return answers
}

const ci = process.env.CI === 'true'

describe('e-mail', { skip: ci ? false : (noMailServers ?? false), timeout: 120_000 }, () => {
  it('the servers are there', () => assert.equal(noMailServers, undefined))

  it('an answer arrives in the thread, and so does the next', () =>
    inScene(async ({ mail, posthouse, write, hears }) => {
      await posthouse.start()
      const question = await write(ANN, { subject: 'Which way?', text: 'To Luoyang.\n\n-- \nAnn' })
      const [first] = await hears(ANN, 1)
      assert.equal(first?.subject, 'Re: Which way?')
      assert.equal(first?.inReplyTo, question)
      assert.equal(first?.from?.name, 'The desk')
      assert.equal(first?.text?.trim(), 'You said: Which way?\n\nTo Luoyang.')
      assert.ok(first?.html?.includes('To Luoyang.'))
      assert.ok(first?.headers.some(({ key, value }) => key === 'auto-submitted' && value === 'auto-replied'))
      await write(ANN, {
        subject: 'Re: Which way?',
        text: 'And back?\n\nOn 1 Jan 2025 at 9:00 The desk <bot@mail.test> wrote:\n> You said: Which way?',
        inReplyTo: first?.messageId ?? '',
        references: `${question} ${first?.messageId}`,
      })
      const [, second] = await hears(ANN, 2)
      assert.equal(second?.text?.trim(), 'You said: And back?')
      assert.ok(second?.references?.startsWith(question))
      await until(() => mail.unseen(BOT) === 0, 'all is marked')
      await posthouse.cli('send', 'desk', ANN, 'The ferry is late.')
      const [, , third] = await hears(ANN, 3)
      assert.equal(third?.subject, 'The ferry is late.')
      assert.equal(third?.inReplyTo, undefined)
      const probed = await posthouse.cli('channel', 'test', 'desk')
      assert.equal(probed.code, 0, probed.stderr)
      assert.match(probed.stdout, /bot@mail\.test/)
      assert.ok(
        posthouse.log.every((line) => !line.includes(ANN) && !line.includes(mail.password)),
        'the log is private',
      )
      const { channels } = JSON.parse((await posthouse.cli('status', '--json')).stdout) as { channels?: { id: string; state: string }[] }
      assert.ok(channels === undefined || channels.some(({ id, state }) => id === 'desk' && state === 'connected'))
    }))

  it('a stranger is told once, in a mail that no program answers; then met with silence', () =>
    inScene(async ({ posthouse, write, hears, got }) => {
      await posthouse.start()
      await write(EVE, { subject: 'a', text: 'let me in' })
      const [told] = await hears(EVE, 1)
      assert.match(told?.text ?? '', /Access denied.*eve@people\.test/s)
      await write(EVE, { subject: 'b', text: 'let me in!' })
      await write(ANN, { subject: 'c', text: 'hello' })
      await hears(ANN, 1)
      assert.equal((await got(EVE)).length, 1)
    }))

  it('a mail server that goes away and comes back costs no mail', () =>
    inScene(async ({ mail, posthouse, write, hears }) => {
      await posthouse.start()
      await write(ANN, { text: 'first' })
      await hears(ANN, 1)
      await mail.stopImap()
      await write(ANN, { text: 'second' })
      await mail.startImap()
      const answers = await hears(ANN, 2)
      assert.deepEqual(
        answers.map(({ text }) => text?.trim()),
        ['You said: first', 'You said: second'],
      )
    }))

  it('killed before the commit: the mail is still there, and answered once', async () => assert.equal(await crashRun('before'), 1))
  it('killed between the commit and the mark: answered once', async () => assert.equal(await crashRun('after'), 1))

  for (const { name } of mutants.filter(({ journey }) => journey === 'email')) {
    it(`notices the mutant "${name}"`, async () => assert.equal(await crashRun('before', name), 0))
  }
  it('notices the mutant "dedupe in memory"', async () => assert.equal(await crashRun('after', 'dedupe in memory'), 2))
})

it('a gateway without a mailbox loads nothing of it', async () => {
  await using posthouse = createPosthouse({})
  const ledger = join(posthouse.folder, 'loaded')
  await posthouse.start({
    NODE_OPTIONS: `--import ${pathToFileURL(join(import.meta.dirname, '../cli/loaded.ts')).href}`,
    POSTHOUSE_LOADED: ledger,
  })
  // It listens a moment before it can be told to stop.
  await fetch(`${posthouse.url}/healthz`)
  await posthouse.stop()
  const loaded = JSON.parse(readFileSync(ledger, 'utf8')) as string[]
  assert.ok(loaded.some((url) => url.endsWith('/channels/email/index.ts')))
  assert.deepEqual(
    loaded.filter((url) => /node_modules\/(imapflow|nodemailer|postal-mime|iconv-lite|libmime)\//.test(url)),
    [],
  )
})
