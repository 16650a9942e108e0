/** A wire between a client and a server that a test can cut, freeze, and read. */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

export interface Tap extends AsyncDisposable {
  readonly port: number
  /** Connections that were made so far. */
  readonly made: number
  readonly open: number
  /** Ends all connections, as a network does: without a word. */
  cut(): void
  /** The same, and nobody comes in until `up`. */
  down(): void
  /** Nothing goes through, in neither direction, until `up`; nothing is closed either. */
  freeze(): void
  /** What is open goes dead without a word, for good; what is opened anew is as ever. */
  strand(): void
  /** What the client says vanishes, for good. */
  mute(): void
  up(): void
  /** Puts bytes into what the server says. */
  say(bytes: Buffer): void
  /** What went through, in both directions. */
  read(): Buffer
}

export async function createTap(target: { readonly host: string; readonly port: number }): Promise<Tap> {
  const pairs = new Set<readonly [Socket, Socket]>()
  const stranded = new Set<Socket>()
  const heard: Buffer[] = []
  let made = 0
  let refusing = false
  let frozen = false
  let muted = false
  const server = createServer((client) => {
    if (refusing) return client.destroy()
    made++
    const behind = connect(target.port, target.host)
    const pair = [client, behind] as const
    pairs.add(pair)
    const end = () => {
      pairs.delete(pair)
      for (const socket of pair) socket.destroy()
    }
    for (const [from, to] of [pair, [behind, client] as const]) {
      from.on('error', end)
      from.on('close', end)
      from.on('data', (data: Buffer) => {
        heard.push(data)
        if (!muted || from === behind) to.write(data)
      })
      if (frozen) from.pause()
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => {
    for (const pair of [...pairs]) for (const socket of pair) socket.destroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    get made() {
      return made
    },
    get open() {
      return pairs.size
    },
    cut,
    down() {
      refusing = true
      cut()
    },
    freeze() {
      frozen = true
      for (const pair of pairs) for (const socket of pair) socket.pause()
    },
    strand() {
      for (const socket of [...pairs].flat()) stranded.add(socket.pause())
    },
    mute() {
      muted = true
    },
    up() {
      muted = false
      refusing = false
      frozen = false
      for (const socket of [...pairs].flat()) if (!stranded.has(socket)) socket.resume()
    },
    say(bytes) {
      for (const [client] of pairs) client.write(bytes)
    },
    read: () => Buffer.concat(heard),
    async [Symbol.asyncDispose]() {
      refusing = true
      cut()
      server.close()
      await once(server, 'close')
    },
  }
}
