/** A TCP proxy that misbehaves on demand: what a bad network does between two programs that know nothing of it. */
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net'

/** What the line does. Bytes and milliseconds; what is not named works. */
export interface LineFaults {
  /** Each piece arrives this much later, in both directions. */
  readonly latency?: number
  /** After this many bytes of the answer nothing more comes, and nobody is told. */
  readonly stallAfter?: number
  /** After this many bytes of the answer both sides get a reset. */
  readonly resetAfter?: number
  /** What is asked goes through; of the answer nothing comes back, and the connection is reset when it begins. */
  readonly dropReply?: boolean
  /** New connections are reset at once. */
  readonly refuse?: boolean
  /** Nothing goes through, in neither direction, and nothing is closed; what came meanwhile goes through afterwards. */
  readonly freeze?: boolean
  /** What is asked vanishes, for good. */
  readonly mute?: boolean
  /** Pieces of the answer that vanish, for good. */
  readonly drop?: (piece: Buffer) => boolean
}

export interface FaultProxy extends AsyncDisposable {
  readonly host: string
  readonly port: number
  /** `http://host:port` */
  readonly url: string
  /** Holds for every connection from now on, also those that are open, until told otherwise. */
  set(faults: LineFaults): void
  /** The same for the next `times` answers only (once unless told otherwise); then the line works again. */
  next(faults: LineFaults, times?: number): void
  /** Resets everything that is open. */
  cut(): void
  /** The same, and nobody comes in until told otherwise. */
  down(): void
  /** What is open goes dead without a word, for good; what is opened anew is as ever. */
  strand(): void
  /** Puts bytes into what the server says, on every line. */
  say(bytes: Buffer): void
  /** Connections that are open, and those that were made so far; answers that a fault met. */
  readonly open: number
  readonly made: number
  readonly hit: number
}

/** One connection through the proxy. */
interface Line {
  readonly client: Socket
  readonly server: Socket
  /** Bytes of the answer in hand that went through since something was asked. */
  answered: number
  /** Faults of this answer alone. */
  alone: LineFaults | undefined
  /** A fault met this answer: what follows of it is nobody's. */
  struck: boolean
  /** Nothing goes through any more. */
  stranded: boolean
}

/** Listens on loopback and passes everything on to `target` (`host:port` or an URL). `heard` is told what comes in, from both sides. */
export async function createFaultProxy(target: string, heard?: (piece: Buffer) => void): Promise<FaultProxy> {
  const { hostname, port: toPort } = new URL(target.includes('://') ? target : `tcp://${target}`)
  const lines = new Set<Line>()
  let faults: LineFaults = {}
  let once: { readonly faults: LineFaults; left: number } | undefined
  let hit = 0
  let made = 0

  const end = (line: Line, how: 'reset' | 'close') => {
    lines.delete(line)
    // One whose end is said cannot be reset any more, and Node would wait for it when the process ends.
    for (const socket of [line.client, line.server]) how === 'reset' && !socket.writableEnded ? socket.resetAndDestroy() : socket.destroy()
  }
  const strike = (line: Line) => {
    if (!line.struck) hit++
    line.struck = true
  }
  const asked = (line: Line) => {
    line.answered = 0
    line.struck = false
    line.alone = once?.faults
    if (once && --once.left <= 0) once = undefined
  }
  /** Passes on as much of an answer as gets through. */
  const answer = (line: Line, data: Buffer) => {
    const { stallAfter, resetAfter, dropReply, drop } = line.alone ?? faults
    if (dropReply || drop?.(data)) {
      strike(line)
      return dropReply ? end(line, 'reset') : undefined
    }
    const most = Math.min(stallAfter ?? Number.POSITIVE_INFINITY, resetAfter ?? Number.POSITIVE_INFINITY) - line.answered
    const through = data.subarray(0, Math.max(0, Math.min(data.length, most)))
    line.answered += through.length
    if (through.length > 0) line.client.write(through)
    if (through.length === data.length && most > data.length) return
    if (most === Number.POSITIVE_INFINITY) return
    strike(line)
    // The last bytes leave before the reset does.
    if (resetAfter !== undefined && line.answered >= resetAfter) setImmediate(() => end(line, 'reset'))
  }

  const hold = ({ client, server, stranded }: Line) => {
    for (const socket of [client, server]) faults.freeze || stranded ? socket.pause() : socket.resume()
  }
  const set = (next: LineFaults) => {
    faults = next
    for (const line of lines) hold(line)
  }

  const server = createServer({ allowHalfOpen: true }, (client) => {
    if (faults.refuse) return void client.resetAndDestroy()
    const upstream = dial({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(toPort), allowHalfOpen: true })
    const line: Line = { client, server: upstream, answered: 0, alone: undefined, struck: false, stranded: false }
    lines.add(line)
    made++
    if (faults.freeze) hold(line)
    let asking = false
    const later = (work: () => void) => {
      const { latency = 0 } = line.alone ?? faults
      if (latency > 0) setTimeout(work, latency)
      else work()
    }
    client.on('data', (data: Buffer) => {
      heard?.(data)
      if (!asking) asked(line)
      asking = true
      if (!(line.alone ?? faults).mute) later(() => upstream.write(data))
    })
    upstream.on('data', (data: Buffer) => {
      heard?.(data)
      asking = false
      later(() => lines.has(line) && answer(line, data))
    })
    client.on('end', () => later(() => upstream.end()))
    upstream.on('end', () => later(() => line.struck || client.end()))
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      socket.setNoDelay(true)
      socket.on('error', () => end(line, 'reset'))
      socket.on('close', () => {
        if (other.destroyed) lines.delete(line)
      })
    }
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const cut = () => {
    for (const line of lines) end(line, 'reset')
  }
  return {
    host: '127.0.0.1',
    port,
    url: `http://127.0.0.1:${port}`,
    set,
    next: (wanted, times = 1) => {
      once = { faults: wanted, left: times }
    },
    cut,
    down() {
      set({ refuse: true })
      cut()
    },
    strand() {
      for (const line of lines) {
        line.stranded = true
        hold(line)
      }
    },
    say(bytes) {
      for (const { client } of lines) client.write(bytes)
    },
    get open() {
      return lines.size
    },
    get made() {
      return made
    },
    get hit() {
      return hit
    },
    [Symbol.asyncDispose]: async () => {
      cut()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
