/** A real gateway process between a real SMTP server and a real IMAP server. People's mailboxes are the judges. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createModelEmulator } from '@posthouse/testkit'
import { createTransport } from 'nodemailer'
import PostalMime, { type Email } from 'postal-mime'
import { createPosthouse, type Posthouse, until } from '../journeys/posthouse.ts'
import { type MailServers, startMailServers } from './servers.ts'

export const BOT = 'bot@mail.test'
export const ANN = 'ann@people.test'
export const EVE = 'eve@people.test'

export interface Scene {
  readonly mail: MailServers
  readonly posthouse: Posthouse
  readonly env: NodeJS.ProcessEnv
  write(from: string, mail: { subject?: string; text: string; inReplyTo?: string; references?: string }): Promise<string>
  /** Mails that a person got, oldest first. */
  got(address: string): Promise<readonly Email[]>
  hears(address: string, count: number): Promise<readonly Email[]>
}

/** Plays between the servers, a model that echoes, and a gateway that is not started yet. */
export async function inScene(play: (scene: Scene) => Promise<void>): Promise<void> {
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
