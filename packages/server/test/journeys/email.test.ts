/** E-mail as people use it: a real gateway process between a real SMTP server and a real IMAP server. People's mailboxes are the judges. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { ANN, BOT, EVE, inScene } from '../mail/scene.ts'
import { noMailServers } from '../mail/servers.ts'
import { createPosthouse, until } from './posthouse.ts'

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
      const { channels } = JSON.parse((await posthouse.cli('status', '--json')).stdout) as { channels: { id: string; state: string }[] }
      assert.deepEqual(
        channels.map(({ id, state }) => [id, state]),
        [['desk', 'connected']],
      )
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
