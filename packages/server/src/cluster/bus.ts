/**
 * Redis as the rest of this part sees it: a channel on which every node hears every other, and scripts. Nothing waits in line while it is
 * away, and it is reached again for ever.
 *
 * Once a second a beat goes out on the channel and must come back: only what was heard proves that both connections work (P11).
 */
import type { Logger } from '@posthouse/contract'
import type { Redis } from 'ioredis'
import { backoff } from '../base/backoff.ts'
import type { Clock } from '../base/clock.ts'
import { causeOf, type OutsideProblem } from '../ports/outside.ts'

export interface Bus extends AsyncDisposable {
  readonly problem: OutsideProblem | undefined
  /** Sends to all nodes, this one too. Answers false when it could not. Never throws, never waits. */
  send(message: Buffer): boolean
  /** Runs a script on a server that answers in time. @throws when none does. */
  run(script: Script, keys: readonly string[], values: readonly (string | number)[]): Promise<unknown>
}

export interface Script {
  readonly name: string
  readonly lua: string
}

export interface BusOptions {
  /** `redis://` or `rediss://`. */
  readonly url: string
  /** Stands before every name in Redis. */
  readonly prefix: string
  readonly node: string
  readonly clock: Clock
  readonly log: Logger
  readonly heard: (message: Buffer) => void
  /** The channel is heard again after it was not: something may have been said meanwhile. */
  readonly back: () => void
  /** Something that was sent did not go out, and the way is free again. */
  readonly resent: () => void
}

const RETRY = { first: 100, most: 5000 }
const CONNECT_WITHIN = 5000
const BEAT_EVERY = 1000
/** Without a beat for so long both connections are made anew. */
const BEAT_WITHIN = 3000
const ANSWER_WITHIN = 250
/** Bytes that may be on their way; more are not sent. */
const MOST_UNDERWAY = 4 * 1024 * 1024
const BEAT = Buffer.from('beat ')

/** Answers at once: the connections come when they come. */
export async function openBus({ url, prefix, node, clock, log, heard, back, resent }: BusOptions): Promise<Bus> {
  const { Redis } = await import('ioredis')
  const channel = `${prefix}:live`
  const own = Buffer.concat([BEAT, Buffer.from(node)])
  let closed = false
  let hearing = false
  let underway = 0
  let dropped = false
  let lastBeat = Number.NEGATIVE_INFINITY
  /** Since when a beat is awaited. */
  let awaited = clock.elapsed()
  let problem: OutsideProblem | undefined = 'unreachable'
  let told: OutsideProblem | undefined
  const scripts = new Set<string>()

  const connect = (name: string) => {
    const redis = new Redis(url, {
      connectionName: `${prefix} ${name}`,
      lazyConnect: true,
      enableOfflineQueue: false,
      autoResubscribe: false,
      maxRetriesPerRequest: 0,
      // A frame that came and was not confirmed would come twice.
      autoResendUnfulfilledCommands: false,
      connectTimeout: CONNECT_WITHIN,
      keepAlive: 10_000,
      retryStrategy: (attempt) => (closed ? null : backoff(attempt, RETRY)),
      reconnectOnError: null,
    })
    redis.on('error', (error: Error & { code?: string }) => {
      tell(/NOAUTH|WRONGPASS|NOPERM/.test(error.message) ? 'refused' : 'unreachable', error)
    })
    redis.on('close', () => {
      if (problem === undefined) tell('unreachable')
    })
    redis.connect().catch(() => {})
    return redis
  }
  const tell = (found: OutsideProblem | undefined, error?: Error) => {
    if (closed) return
    const before = problem
    problem = found
    if (found === undefined) {
      if (before !== undefined) log.info({}, 'connected to Redis')
      told = undefined
      return
    }
    // What lasts is told once, at the start too.
    if (told !== undefined) return
    told = found
    log.warn(
      { problem: found, cause: causeOf('redis', error)?.en },
      'Redis is away; frames stay on this node, and rates are kept carefully',
    )
  }

  const commands = connect('sends')
  const listening = connect('hears')
  listening.on('ready', () => {
    listening.subscribe(channel).then(
      () => {
        hearing = true
        back()
        beat()
      },
      () => {},
    )
  })
  listening.on('close', () => {
    hearing = false
  })
  listening.on('messageBuffer', (_channel: Buffer, message: Buffer) => {
    if (!message.subarray(0, BEAT.length).equals(BEAT)) heard(message)
    else if (message.equals(own)) beatCame()
  })
  const beatCame = () => {
    lastBeat = clock.elapsed()
    tell(undefined)
    if (!dropped) return
    dropped = false
    resent()
  }
  const isReady = (redis: Redis) => redis.status === 'ready'
  /** What is said in one round of the event loop goes out in one write: each costs as much as what it says. */
  const gather = ({ stream }: Redis) => {
    if (stream.writableCorked > 0) return
    stream.cork()
    setImmediate(() => stream.uncork())
  }
  const beat = () => {
    if (isReady(commands) && hearing) commands.publish(channel, own).catch(() => {})
    const now = clock.elapsed()
    if (now - Math.max(lastBeat, awaited) < BEAT_WITHIN) return
    awaited = now
    if (isReady(commands) || hearing) tell('silent')
    else if (problem === undefined) tell('unreachable')
    // One that waits for its next try has nothing to give up.
    for (const redis of [commands, listening]) if (['ready', 'connect'].includes(redis.status)) redis.disconnect(true)
  }
  const beating = clock.every(BEAT_EVERY, beat)
  commands.on('ready', beat)

  return {
    get problem() {
      return problem
    },
    send(message) {
      if (!isReady(commands) || problem === 'silent' || underway + message.length > MOST_UNDERWAY) {
        dropped = true
        return false
      }
      underway += message.length
      gather(commands)
      commands.publish(channel, message).then(
        () => {
          underway -= message.length
        },
        () => {
          underway -= message.length
          dropped = true
        },
      )
      return true
    },
    async run(script, keys, values) {
      if (problem !== undefined || !isReady(commands)) throw new Error('Redis is away')
      if (!scripts.has(script.name)) {
        commands.defineCommand(script.name, { lua: script.lua })
        scripts.add(script.name)
      }
      const call = (commands as unknown as Record<string, (...all: (string | number)[]) => Promise<unknown>>)[script.name]
      gather(commands)
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => {
          tell('silent')
          reject(new Error('Redis did not answer in time'))
        }, ANSWER_WITHIN)
      })
      try {
        return await Promise.race([call?.call(commands, keys.length, ...keys, ...values), late])
      } finally {
        clearTimeout(timer)
      }
    },
    async [Symbol.asyncDispose]() {
      closed = true
      beating[Symbol.dispose]()
      for (const redis of [commands, listening]) redis.disconnect()
    },
  }
}

/**
 * Connects once and asks for the version.
 * @throws what the server or the network says.
 */
export async function probeRedis(url: string): Promise<{ readonly version: string }> {
  const { Redis } = await import('ioredis')
  const redis = new Redis(url, { lazyConnect: true, connectTimeout: CONNECT_WITHIN, retryStrategy: () => null, maxRetriesPerRequest: 0 })
  let told: Error | undefined
  redis.on('error', (error: Error) => {
    told = error
  })
  try {
    await redis.connect()
    return { version: /redis_version:(\S+)/.exec(await redis.info('server'))?.[1] ?? '?' }
  } catch (error) {
    throw told ?? error
  } finally {
    redis.disconnect()
  }
}
