/**
 * Tickets over RabbitMQ: a quorum queue for each priority, confirmed by the server, taken by whichever node has room.
 *
 * Two connections, since a server that is short of memory reads nothing more from a connection that publishes: what is taken can still be
 * acknowledged on the other. A ticket that cannot be handed over is handed on within this process; one that gets lost is found by the sweep.
 */
import { type Logger, type Priority, type PriorityName, priorities } from '@posthouse/contract'
import type { Channel, ConfirmChannel, ConsumeMessage } from 'amqplib'
import type { Clock } from '../base/clock.ts'
import type { Broker, TakeTicket, Ticket } from '../ports/broker.ts'
import type { Observer } from '../ports/observer.ts'
import type { OutsideProblem } from '../ports/outside.ts'
import { type Link, openLink } from './link.ts'

export interface RabbitOptions {
  /** `amqp://` or `amqps://`. */
  readonly url: string
  /** Stands before the names of the queues. */
  readonly prefix: string
  /** Tickets of one priority that this node holds while their lanes wait. */
  readonly prefetch: number
  readonly clock: Clock
  readonly log: Logger
  readonly observer: Pick<Observer, 'ticket'>
}

/** A server that did not confirm by then is no use: the connection is made anew. */
const CONFIRM_WITHIN = 5000
const LOOK_EVERY = 500
/** Tickets on their way at once; more are not handed over. */
const MOST_UNCONFIRMED = 1000
const SWEEP_EVERY = 1000
const MOST_PREFETCH = 1000

/**
 * What a queue is: the same on every node and in every version, or the server refuses it. The oldest of too many tickets go, and one that
 * was given out twenty times: what they stood for is in the database.
 */
const QUEUE = {
  durable: true,
  arguments: { 'x-queue-type': 'quorum', 'x-max-length': 100_000, 'x-delivery-limit': 20 },
} as const
const classes = Object.entries(priorities) as [PriorityName, Priority][]
const queueOf = (prefix: string, name: PriorityName) => `${prefix}.tickets.${name}`

/** Answers at once: the connections come when they come. @throws when the address cannot be read. */
export async function openRabbitBroker(options: RabbitOptions): Promise<Broker> {
  const { url, prefix, clock, log, observer } = options
  const queues = new Map(classes.map(([name, priority]) => [priority, queueOf(prefix, name)]))
  let take: TakeTicket | undefined
  let publisher: ConfirmChannel | undefined
  let consumer: Link | undefined
  let closed = false
  let silent = false
  let number = 0
  /** When each was sent, the oldest first. */
  const unconfirmed = new Map<number, number>()

  const declare = async (channel: Channel) => {
    for (const queue of queues.values()) await channel.assertQueue(queue, QUEUE)
  }
  const handOn = (ticket: Ticket) => {
    observer.ticket({ result: 'refused' })
    setImmediate(() => {
      if (!closed) take?.(ticket)
    })
  }
  const publishing = await openLink({
    url,
    name: `${prefix} publishes`,
    log,
    async open(connection) {
      const channel = await connection.createConfirmChannel()
      channel.on('error', () => {})
      await declare(channel)
      publisher = channel
      silent = false
      return channel
    },
    lost() {
      publisher = undefined
    },
  })
  const watch = clock.every(LOOK_EVERY, () => {
    const limit = clock.elapsed() - CONFIRM_WITHIN
    let late = false
    for (const [id, at] of unconfirmed) {
      if (at > limit) break
      unconfirmed.delete(id)
      observer.ticket({ result: 'unconfirmed' })
      late = true
    }
    if (!late || publishing.problem) return
    silent = true
    publisher = undefined
    publishing.renew()
  })

  const consume = async (connection: { createChannel(): Promise<Channel> }) => {
    const channel = await connection.createChannel()
    channel.on('error', () => {})
    await channel.prefetch(Math.min(Math.max(1, options.prefetch), MOST_PREFETCH))
    await declare(channel)
    const receive = (message: ConsumeMessage | null) => {
      // The queue was deleted.
      if (!message) return consumer?.renew()
      const done = () => {
        try {
          channel.ack(message)
        } catch {
          // The channel ended meanwhile: the ticket is given out again.
        }
      }
      const ticket = readTicket(message.content)
      if (ticket) take?.(ticket, done)
      else {
        observer.ticket({ result: 'foreign' })
        done()
      }
    }
    for (const queue of queues.values()) await channel.consume(queue, receive)
    return channel
  }

  return {
    publish(ticket) {
      const channel = publisher
      const queue = queues.get(ticket.priority)
      if (!channel || !queue || publishing.problem || unconfirmed.size >= MOST_UNCONFIRMED) return handOn(ticket)
      const id = ++number
      unconfirmed.set(id, clock.elapsed())
      const confirmed = (error: unknown) => {
        if (!unconfirmed.delete(id)) return
        if (error) handOn(ticket)
        else observer.ticket({ result: 'confirmed' })
      }
      try {
        channel.sendToQueue(queue, writeTicket(ticket), { persistent: true, contentType: 'application/json' }, confirmed)
      } catch (error) {
        confirmed(error)
      }
    },
    consume(wanted) {
      take = wanted
      openLink({ url, name: `${prefix} takes`, log, open: consume, lost: () => {} }).then(
        (link) => {
          consumer = link
          if (closed) void link[Symbol.asyncDispose]()
        },
        (error: unknown) => log.error({ err: error }, 'no tickets are taken from the broker'),
      )
    },
    get problem(): OutsideProblem | undefined {
      return publishing.problem ?? (silent ? 'silent' : take && (consumer ? consumer.problem : 'unreachable'))
    },
    sweepEvery: SWEEP_EVERY,
    async [Symbol.asyncDispose]() {
      closed = true
      watch[Symbol.dispose]()
      await Promise.all([publishing[Symbol.asyncDispose](), consumer?.[Symbol.asyncDispose]()])
    },
  }
}

/** Ids only: what people said never reaches a broker (P12). */
function writeTicket({ lane, priority }: Ticket): Buffer {
  return Buffer.from(JSON.stringify({ lane, priority }))
}

const LONGEST = 200
const LANE = /^[\w-]{1,64}$/

/** Undefined when it is none of ours: whoever may write to the queue is not believed. */
function readTicket(content: Buffer): Ticket | undefined {
  if (content.length > LONGEST) return undefined
  try {
    const { lane, priority } = JSON.parse(content.toString()) as { lane?: unknown; priority?: unknown }
    const known = classes.find(([, value]) => value === priority)?.[1]
    return typeof lane === 'string' && LANE.test(lane) && known !== undefined ? { lane, priority: known } : undefined
  } catch {
    return undefined
  }
}

/**
 * Connects once, and looks at the queues.
 * @throws what the server or the network says.
 */
export async function probeRabbit({ url, prefix }: Pick<RabbitOptions, 'url' | 'prefix'>): Promise<{ readonly waiting: number }> {
  const { connect } = await import('amqplib')
  const connection = await connect(url, { timeout: CONFIRM_WITHIN })
  connection.on('error', () => {})
  try {
    const channel = await connection.createChannel()
    channel.on('error', () => {})
    const found = await Promise.all(classes.map(([name]) => channel.assertQueue(queueOf(prefix, name), QUEUE)))
    return { waiting: found.reduce((sum, { messageCount }) => sum + messageCount, 0) }
  } finally {
    await connection.close().catch(() => {})
  }
}
