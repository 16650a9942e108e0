/** An SMTP server that takes every mail and keeps it, and fails as it is told: what a real one can't be asked to do. */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import PostalMime, { type Email } from 'postal-mime'

export interface Taken {
  readonly from: string
  readonly to: string
  readonly raw: string
  readonly mail: Email
}

export interface Sink extends AsyncDisposable {
  readonly port: number
  readonly taken: readonly Taken[]
  /** Connections so far. */
  readonly connections: number
  /** The next command that begins so gets this answer; `lost`: it is carried out, and the connection ends without an answer. */
  failNext(command: 'AUTH' | 'MAIL' | 'RCPT' | 'DATA' | '.', answer: string | 'lost'): void
  /** Accepted by AUTH PLAIN and XOAUTH2; undefined: anything. */
  secret: string | undefined
}

export async function startSink(): Promise<Sink> {
  const taken: Taken[] = []
  const sockets = new Set<Socket>()
  let failing: { readonly command: string; readonly answer: string } | undefined
  let connections = 0
  const sink = { secret: undefined as string | undefined }

  const converse = async (socket: Socket) => {
    let envelope = { from: '', to: '' }
    let data: string[] | undefined
    const say = (line: string) => socket.write(`${line}\r\n`)
    /** Answers whether the command was made to fail; `lost` is only told. */
    const fails = (command: string) => {
      if (failing?.command !== command) return undefined
      const { answer } = failing
      failing = undefined
      if (answer !== 'lost') say(answer)
      return answer
    }
    const command = (line: string) => {
      const verb = line.slice(0, 4).toUpperCase()
      if (verb !== 'EHLO' && fails(verb)) return
      if (verb === 'EHLO') socket.write('250-sink.test\r\n250-AUTH PLAIN XOAUTH2\r\n250 8BITMIME\r\n')
      else if (verb === 'AUTH') {
        const said = Buffer.from(line.split(' ')[2] ?? '', 'base64').toString()
        say(sink.secret === undefined || said.includes(sink.secret) ? '235 2.7.0 welcome' : '535 5.7.8 wrong user or password')
      } else if (verb === 'MAIL') {
        envelope = { from: /<(.*?)>/.exec(line)?.[1] ?? '', to: '' }
        say('250 ok')
      } else if (verb === 'RCPT') {
        envelope.to = /<(.*?)>/.exec(line)?.[1] ?? ''
        say('250 ok')
      } else if (verb === 'DATA') {
        data = []
        say('354 go on')
      } else if (verb === 'QUIT') socket.end('221 bye\r\n')
      else say(verb === 'RSET' || verb === 'NOOP' ? '250 ok' : '502 5.5.1 unknown')
    }
    const line = async (text: string) => {
      if (!data) return command(text)
      if (text !== '.') return void data.push(text.replace(/^\./, ''))
      const raw = data.join('\r\n')
      data = undefined
      const failed = fails('.')
      if (failed && failed !== 'lost') return
      taken.push({ ...envelope, raw, mail: await PostalMime.parse(raw) })
      if (failed) socket.destroy()
      else say('250 2.0.0 taken')
    }
    say('220 sink.test ESMTP')
    let rest = ''
    for await (const chunk of socket) {
      const lines = (rest + String(chunk)).split('\r\n')
      rest = lines.pop() ?? ''
      for (const text of lines) await line(text)
    }
  }

  const server = createServer((socket) => {
    connections++
    sockets.add(socket.setEncoding('utf8'))
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    converse(socket).catch(() => socket.destroy())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    taken,
    get connections() {
      return connections
    },
    failNext(command: string, answer: string) {
      failing = { command, answer }
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
    get secret() {
      return sink.secret
    },
    set secret(secret: string | undefined) {
      sink.secret = secret
    },
  }
}
