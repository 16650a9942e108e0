/**
 * Live frames between nodes. Listeners of this process get theirs at once, the others over the bus, sealed: frames carry what people say (P12).
 *
 * A message is `frame|missed|show|stop node topic\n` and, for a frame, its sealed bytes. What cannot be sent, or is too large, becomes a `missed`:
 * then who listens asks the store. `show` and `stop` say nothing that the store would not: whoever may write to Redis makes us look, no more.
 *
 * Pieces of a draft, which are most of all frames, leave the node only while another has asked to be shown: a node with listeners asks when it hears
 * that a turn began, and is shown all that is there by then.
 */
import type { ServerFrame, TurnView } from '@posthouse/contract/http'
import { createGenerations } from '../base/generations.ts'
import type { Live, LiveWord } from '../ports/live.ts'
import type { Observer } from '../ports/observer.ts'
import type { Sealer } from '../ports/sealer.ts'
import type { LocalLive } from './single.ts'

export interface SharedLive extends Live {
  /** What came over the bus. */
  heard(message: Buffer): void
  /** Tells the other nodes that they missed something. */
  tellMissed(): void
}

const MOST_FRAME = 256 * 1024
/** Turns that are watched from elsewhere at a time; a watcher of more gets the answer without its growing. */
const MOST_WATCHED = 10_000
const MOST_HEAD = 256
const HEAD = /^(frame|missed|show|stop) ([\w-]{1,64}) ([\w:-]{0,128})$/

export function createSharedLive(parts: {
  readonly local: LocalLive
  readonly node: string
  readonly sealer: Sealer
  readonly send: (message: Buffer) => boolean
  /** Whether the others are heard. */
  readonly hearing: () => boolean
  readonly observer: Pick<Observer, 'frame'>
}): SharedLive {
  const { local, node, sealer, send, hearing, observer } = parts
  const heeding: ((topic: string, word: LiveWord) => void)[] = []
  const headOf = (kind: 'frame' | 'missed' | LiveWord, topic: string) => Buffer.from(`${kind} ${node} ${topic}\n`)
  const sealedAt = (topic: string) => `live|${topic}`
  /** Topics whose turn another node asked to be shown. */
  const watched = createGenerations<true>(2 * MOST_WATCHED)
  /** The turn of another node that was asked for, by topic: it is shown again whenever anybody asks. */
  const asked = createGenerations<string>(2 * MOST_WATCHED)
  const askFor = (topic: string, turn: TurnView) => {
    if (turn.state === 'ended') asked.delete(topic)
    else if (asked.get(topic) !== turn.id) {
      asked.set(topic, turn.id, 1)
      send(headOf('show', topic))
    }
  }
  return {
    publish(topic, frame) {
      local.publish(topic, frame)
      if (frame.type === 'delta' && !watched.get(topic)) return
      if (frame.type === 'turn' && frame.turn.state === 'ended') watched.delete(topic)
      const text = JSON.stringify(frame)
      // A UTF-16 unit is at most three bytes.
      const fits = text.length * 3 <= MOST_FRAME || Buffer.byteLength(text) <= MOST_FRAME
      const message = fits ? Buffer.concat([headOf('frame', topic), sealer.seal(text, sealedAt(topic))]) : headOf('missed', topic)
      observer.frame({ result: send(message) && fits ? 'sent' : 'dropped' })
    },
    subscribe: local.subscribe,
    tell: (topic, word) => void send(headOf(word, topic)),
    heed: (listener) => void heeding.push(listener),
    get deaf() {
      return !hearing()
    },
    heard(message) {
      const end = message.subarray(0, MOST_HEAD).indexOf(10)
      const [, kind, from, topic = ''] = HEAD.exec(message.subarray(0, Math.max(0, end)).toString()) ?? []
      if (from === node) return
      if (kind === 'missed') return local.missed(topic === '' ? undefined : topic)
      if (kind === 'show' || kind === 'stop') {
        if (kind === 'show') watched.set(topic, true, 1)
        for (const listener of heeding) listener(topic, kind)
        return
      }
      if (kind === 'frame' && !local.has(topic)) return
      try {
        const frame = JSON.parse(sealer.open(message.subarray(end + 1), sealedAt(topic)).toString()) as ServerFrame
        observer.frame({ result: 'received' })
        local.publish(topic, frame)
        if (frame.type === 'turn') askFor(topic, frame.turn)
      } catch {
        // Sealed with another key, or by nobody: whoever may write to Redis is not believed.
        observer.frame({ result: 'foreign' })
      }
    },
    tellMissed() {
      send(headOf('missed', ''))
    },
  }
}
