/** One connection to RabbitMQ that comes back for ever. What it is for is set up anew each time. */
import type { Duplex } from 'node:stream'
import type { Logger } from '@posthouse/contract'
import type { Channel, ChannelModel } from 'amqplib'
import { backoff } from '../base/backoff.ts'
import { causeOf, type OutsideProblem } from '../ports/outside.ts'

export interface Link extends AsyncDisposable {
  readonly problem: OutsideProblem | undefined
  /** Gives the connection up, as one that is no use any more; the next follows. */
  renew(): void
}

const RETRY = { first: 200, most: 10_000 }
/** Seconds. A frozen server is noticed after two of them. */
const HEARTBEAT = 5
const CONNECT_WITHIN = 5000
const CLOSE_WITHIN = 1000

/** `open` makes the channel and what belongs to it; a channel that closes ends the connection. `lost` is called when it ended. */
export async function openLink(options: {
  readonly url: string
  /** What stands in the server's list of connections. */
  readonly name: string
  readonly log: Logger
  readonly open: (connection: ChannelModel) => Promise<Channel>
  readonly lost: () => void
}): Promise<Link> {
  const { log, open, lost, name } = options
  const { connect } = await import('amqplib')
  let problem: OutsideProblem | undefined = 'unreachable'
  let current: ChannelModel | undefined
  let told: string | undefined
  const recovering = await connect(withHeartbeat(options.url), {
    timeout: CONNECT_WITHIN,
    noDelay: true,
    keepAlive: true,
    clientProperties: { connection_name: name },
    recovery: {
      waitForConnect: false,
      calculateDelay: (attempt) => backoff(attempt, RETRY),
      async setup(connection: ChannelModel) {
        // Until the set-up is done nobody else listens, and an error that nobody hears ends the process.
        connection.on('error', () => {})
        const channel = await open(connection)
        channel.on('error', (error) => tell(error))
        channel.on('close', () => giveUp(connection))
        current = connection
      },
    },
  })
  /** Each reason once: a server that is away for an hour is one line. */
  const tell = (error: Error & { code?: string | number }) => {
    const reason = String(error.code ?? error.message).slice(0, 200)
    if (reason !== told)
      log.warn(
        { link: name, reason, cause: causeOf('broker', error)?.en },
        'the way to the broker is broken; the database is asked instead',
      )
    told = reason
  }
  recovering.on('connect', () => {
    problem = undefined
    log.info({ link: name }, 'connected to the broker')
    told = undefined
  })
  recovering.on('connect-failed', (error) => {
    problem = isRefusal(error) ? 'refused' : 'unreachable'
    lost()
    tell(error)
  })
  recovering.on('disconnect', (error) => {
    problem = 'unreachable'
    current = undefined
    lost()
    tell(error)
  })
  recovering.on('blocked', () => {
    problem = 'blocked'
    log.warn({ link: name }, 'the broker is short of memory or disk and takes nothing; the database is asked instead')
  })
  recovering.on('unblocked', () => {
    problem = undefined
  })
  // The end of the connection is told by `disconnect`.
  recovering.on('error', () => {})
  recovering.on('handler-error', (error) => log.error({ err: error, link: name }, 'a listener of the broker failed'))
  return {
    get problem() {
      return problem
    },
    renew() {
      if (current) giveUp(current)
    },
    async [Symbol.asyncDispose]() {
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, CLOSE_WITHIN)
      })
      await Promise.race([recovering.close(), late])
      clearTimeout(timer)
    },
  }
}

const giveUp = (connection: ChannelModel) => {
  const { stream } = (connection as unknown as { connection: { stream: Duplex } }).connection
  // Who hears nothing does not answer this either.
  const late = setTimeout(() => stream.destroy(new Error('the broker does not answer')), CLOSE_WITHIN).unref()
  // It may be closing already.
  Promise.try(() => connection.close())
    .then(() => clearTimeout(late))
    .catch(() => {})
}

/** The server speaks, and says no: credentials, a virtual host, or a queue of that name that is another. */
function isRefusal(error: Error & { code?: string | number }): boolean {
  return typeof error.code === 'number' || /\b(40[0-9]|530)\b|ACCESS|PRECONDITION/.test(error.message)
}

function withHeartbeat(url: string): string {
  const parsed = new URL(url)
  if (!parsed.searchParams.has('heartbeat')) parsed.searchParams.set('heartbeat', String(HEARTBEAT))
  return parsed.href
}
