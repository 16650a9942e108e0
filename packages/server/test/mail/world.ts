/** One account of ours on real servers, as the channel suite and its tests see it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock, Connection, DeliveryFailure } from '@posthouse/contract'
import { type ChannelWorld, createFakeHost, type FakeHost, openListening } from '@posthouse/testkit'
import { createEmail } from '../../src/channels/email/index.ts'
import { digest } from '../../src/channels/email/receive.ts'
import type { EmailSettings } from '../../src/channels/email/settings.ts'
import { createFetch } from '../../src/security/fetch.ts'
import type { MailServers } from './servers.ts'
import { type Sink, startSink } from './sink.ts'

export const PERSON = 'ann@example.com'
/** Mailboxes: each world takes one. */
export const OURS = Array.from({ length: 80 }, (_, index) => `bot${index}@mail.test`)
export const ROOT = '<root@example.com>'

function quickClock(waits: number[]): Clock {
  return {
    now: Date.now,
    wait: async (ms, signal) => {
      waits.push(ms)
      await sleep(Math.min(ms, 5), undefined, { signal }).catch(() => undefined)
    },
  }
}

export interface World extends ChannelWorld {
  readonly address: string
  readonly host: FakeHost
  readonly sink: Sink
  readonly waits: number[]
  /** A mail with these header lines and this body. */
  mail(headers: readonly string[], body: string): void
  open(more?: Partial<EmailSettings>, clock?: Clock): Promise<Connection>
  probe(more?: Partial<EmailSettings>): ReturnType<ChannelWorld['probe']>
}

let taken = 0

export async function startWorld(servers: MailServers, mode: EmailSettings['mode'] = 'idle'): Promise<World> {
  const address = OURS[taken++] as string
  const client = createFetch()
  const sink = await startSink()
  const host = await createFakeHost({ fetch: client.fetch })
  const waits: number[] = []
  let count = 0
  let last = ''
  const { password } = servers
  const settings = (more: Partial<EmailSettings> = {}): EmailSettings => ({
    address,
    password,
    imap: { host: '127.0.0.1', port: servers.imap.port, security: 'none' },
    smtp: { host: '127.0.0.1', port: sink.port, security: 'none' },
    trust_sender: true,
    freshness: 86_400_000,
    priority: 'normal',
    mode,
    poll_interval: 100,
    mailbox: 'INBOX',
    processed_flag: '\\Seen',
    save_sent: false,
    ...more,
  })
  const mail = (headers: readonly string[], body: string) => {
    servers.deliver(address, [...headers, '', body].join('\n'))
  }
  const said = (from: string, text: string) => {
    const type = 'Content-Type: text/plain; charset=utf-8'
    last = [`From: Ann <${from}>`, `To: ${address}`, `Message-ID: <${++count}.${address}>`, `References: ${ROOT}`, type, '', text].join(
      '\n',
    )
    servers.deliver(address, last)
  }
  const failures: Partial<Record<DeliveryFailure, () => void>> = {
    transient: () => sink.failNext('RCPT', '451 4.3.0 try again later'),
    'rate-limited': () => sink.failNext('MAIL', '421 4.7.28 too many mails, slow down'),
    auth: () => sink.failNext('MAIL', '530 5.7.0 authentication required'),
    permission: () => sink.failNext('MAIL', '553 5.7.1 you may not send as this address'),
    'not-found': () => sink.failNext('RCPT', `550 5.1.1 <${PERSON}> no such user`),
    invalid: () => sink.failNext('.', '554 5.6.0 content refused'),
    unknown: () => sink.failNext('.', 'lost'),
  }
  return {
    address,
    host,
    sink,
    waits,
    mail,
    place: { room: PERSON, thread: digest(ROOT), type: 'direct' },
    secrets: [password],
    open: (more, clock) => openListening(createEmail(clock ?? quickClock(waits)), settings(more), host),
    probe: (more) => createEmail().probe(settings(more), host, new AbortController().signal),
    platform: {
      say: (text) => said(PERSON, text),
      redeliver: () => servers.deliver(address, last),
      unacknowledged: () => servers.unseen(address),
      posted: () => sink.taken.map(({ mail: { text } }) => (text ?? '').replace(/\n$/, '')),
      fail: (kind) => failures[kind]?.(),
      sayAsOurselves: (text) => said(address, text),
      sayFile: (bytes) => {
        const encoded = Buffer.from(bytes).toString('base64').replace(/.{76}/g, '$&\n')
        const disposition = 'Content-Disposition: attachment; filename="../../e\\"vil.bin"'
        const part = ['Content-Type: application/octet-stream', disposition, 'Content-Transfer-Encoding: base64', '', encoded].join('\n')
        mail(
          [`From: ${PERSON}`, 'MIME-Version: 1.0', 'Content-Type: multipart/mixed; boundary=b'],
          `--b\n\nsee here\n--b\n${part}\n--b--\n`,
        )
      },
      revoke: () => servers.revoke(address),
    },
    async [Symbol.asyncDispose]() {
      await sink[Symbol.asyncDispose]()
      await host[Symbol.asyncDispose]()
      await client[Symbol.asyncDispose]()
    },
  }
}
