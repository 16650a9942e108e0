/** People with mailboxes on real servers: each has one thread with the bot, writes in it and finds the answers in a mailbox. */
import PostalMime from 'postal-mime'
import { type MailServers, startMailServers } from '../mail/servers.ts'
import { marksIn } from './auditor.ts'

const BOT = 'bot@mail.test'

export interface Mailboxes extends AsyncDisposable {
  /** The e-mail account, for the configuration; beside it lies `ca.pem`. */
  readonly account: object
  readonly certificate: string
  say(person: number, number: number): void
  /** Mails that nobody has taken yet. */
  readonly waiting: number
  /** Questions whose mail bears the mark of being taken. */
  confirmed(): ReadonlySet<number>
  /** What people find, in order; answers are found by number of the person. */
  posted(): Promise<readonly { readonly chat: number; readonly text: string }[]>
  /** How many mails people have. */
  readonly arrived: number
}

/** Starts both servers with so many people. */
export async function openMailboxes(people: number): Promise<Mailboxes> {
  const addresses = Array.from({ length: people }, (_, person) => `p${person}@people.test`)
  const mail: MailServers = await startMailServers({ addresses: [BOT, ...addresses] })
  const server = { host: 'localhost', security: 'tls' }
  const numberIn = (text: string) => marksIn(text)[0]?.number ?? 0
  return {
    account: {
      type: 'email',
      address: BOT,
      password: mail.password,
      imap: { ...server, port: mail.imap.tlsPort },
      smtp: { ...server, port: mail.smtp.tlsPort },
      tls_ca: '${' + 'file:ca.pem}',
      trust_sender: true,
      send_rate: 1000,
      room_send_rate: 1000,
    },
    certificate: mail.ca,
    say(person, number) {
      mail.deliver(
        BOT,
        [
          `From: P${person} <${addresses[person]}>`,
          `To: ${BOT}`,
          `Message-ID: <m${number}@people.test>`,
          `References: <thread-${person}@people.test>`,
          `Subject: Re: thread ${person}`,
          'Content-Type: text/plain; charset=utf-8',
          '',
          `m${number}p1`,
        ].join('\n'),
      )
    },
    get waiting() {
      return mail.unseen(BOT)
    },
    confirmed: () =>
      new Set(
        mail.mails(BOT).flatMap(({ bytes, flags }) => (flags.includes('S') ? [numberIn(String(bytes).split('\r\n\r\n')[1] ?? '')] : [])),
      ),
    async posted() {
      const posted: { chat: number; text: string }[] = []
      for (const [chat, address] of addresses.entries())
        for (const { bytes } of mail.mails(address)) posted.push({ chat, text: (await PostalMime.parse(bytes)).text ?? '' })
      return posted
    },
    get arrived() {
      return addresses.reduce((sum, address) => sum + mail.mails(address).length, 0)
    },
    [Symbol.asyncDispose]: () => mail[Symbol.asyncDispose](),
  }
}
