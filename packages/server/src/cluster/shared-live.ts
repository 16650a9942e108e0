/**
 * Live frames between nodes. Listeners of this process get theirs at once, the others over the bus, sealed: frames carry what people say (P12).
 *
 * A message is `frame|missed|show|stop node topic\n` and, for a frame, its sealed bytes. What cannot be sent, or is too large, becomes a `missed`:
 * then who listens asks the store. `show` and `stop` say nothing that the store would not: whoever may write to Redis makes us look, no more.
 */
import type { ServerFrame } from '@posthouse/contract/http'
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
  return {
    publish(topic, frame) {
      local.publish(topic, frame)
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
        for (const listener of heeding) listener(topic, kind)
        return
      }
      if (kind === 'frame' && !local.has(topic)) return
      try {
        const frame = JSON.parse(sealer.open(message.subarray(end + 1), sealedAt(topic)).toString()) as ServerFrame
        observer.frame({ result: 'received' })
        local.publish(topic, frame)
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
