/** What every way of live frames must do, as data. */
import assert from 'node:assert/strict'
import type { ServerFrame } from '@posthouse/contract/http'
import { conversationTopic, type Live, userTopic } from '../../src/ports/live.ts'
import { until } from '../journeys/posthouse.ts'

export interface LiveHarness {
  /** A node that hears the others. It goes with the harness. */
  open(): Promise<Live>
}

interface Behaviour {
  readonly name: string
  /** Whether it takes more than one process. */
  readonly shared?: true
  run(harness: LiveHarness): Promise<void>
}

const topic = conversationTopic('0198c0de-0000-7000-8000-000000000001')
const turn = (state: 'running' | 'ended'): ServerFrame => ({
  type: 'turn',
  conversation_id: topic.slice('conversation:'.length),
  turn: { id: '0198c0de-0000-7000-8000-000000000002', state, answers: [], ...(state === 'running' ? { draft: '' } : {}) },
})
/** Asks for the pieces of `here` to be shown to `there`. */
export async function watch(there: Live, here: Live): Promise<void> {
  const asked = Promise.withResolvers<void>()
  here.heed((about, word) => about === topic && word === 'show' && asked.resolve())
  there.tell(topic, 'show')
  await asked.promise
}
export const delta = (offset: number, text = `part ${offset}`): ServerFrame => ({
  type: 'delta',
  conversation_id: topic.slice('conversation:'.length),
  turn_id: '0198c0de-0000-7000-8000-000000000002',
  offset,
  text,
})
const deltas = (count: number) => Array.from({ length: count }, (_, index) => delta(index))

export const liveBehaviours: readonly Behaviour[] = [
  {
    name: 'gives listeners of this node their frames at once, once, and of their topic only',
    async run({ open }) {
      const live = await open()
      const heard: ServerFrame[] = []
      const other: ServerFrame[] = []
      using _first = live.subscribe(topic, (frame) => heard.push(frame))
      using _other = live.subscribe(userTopic('0198c0de-0000-7000-8000-000000000003'), (frame) => other.push(frame))
      for (const frame of deltas(20)) live.publish(topic, frame)
      assert.deepEqual([heard, other], [deltas(20), []])
    },
  },
  {
    name: 'gives nothing to who listens no more, also when that is said within a frame',
    async run({ open }) {
      const live = await open()
      const heard: number[] = []
      const first = live.subscribe(topic, () => {
        heard.push(1)
        first[Symbol.dispose]()
      })
      using _second = live.subscribe(topic, () => heard.push(2))
      live.publish(topic, delta(0))
      live.publish(topic, delta(1))
      first[Symbol.dispose]()
      live.publish(topic, delta(2))
      assert.deepEqual(heard, [1, 2, 2, 2])
    },
  },
  {
    name: 'brings frames to other nodes, in order, once, and to who listens there',
    shared: true,
    async run({ open }) {
      const [here, there] = [await open(), await open()]
      const heard: ServerFrame[] = []
      const own: ServerFrame[] = []
      using _there = there.subscribe(topic, (frame) => heard.push(frame))
      using _here = here.subscribe(topic, (frame) => own.push(frame))
      await watch(there, here)
      await watch(here, there)
      for (const frame of deltas(200)) here.publish(topic, frame)
      await until(() => heard.length >= 200, 'every frame comes')
      assert.deepEqual(heard, deltas(200))
      there.publish(topic, delta(7))
      await until(() => own.length > 200, 'the other way')
      assert.deepEqual([own.length, heard.length], [201, 201])
    },
  },
  {
    name: 'brings pieces of a draft to who asked for them, and asks by itself, once, when a turn begins that somebody follows',
    shared: true,
    async run({ open }) {
      const [here, there, idle] = [await open(), await open(), await open()]
      const heard: ServerFrame[] = []
      const asks: string[] = []
      using _there = there.subscribe(topic, (frame) => heard.push(frame))
      using _idle = idle.subscribe(userTopic('0198c0de-0000-7000-8000-000000000003'), () => asks.push('of another topic'))
      here.heed((about, word) => asks.push(`${about === topic ? 'topic' : about} ${word}`))
      here.publish(topic, delta(0))
      here.publish(topic, turn('running'))
      await until(() => asks.length > 0, 'the one that has a listener asks')
      here.publish(topic, turn('running'))
      here.publish(topic, delta(1))
      here.publish(topic, turn('ended'))
      here.publish(topic, delta(2))
      here.publish(topic, turn('running'))
      await until(() => asks.length > 1, 'it asks for the next turn, too')
      here.publish(topic, delta(3))
      await until(() => heard.length >= 6, 'its pieces come')
      assert.deepEqual(heard, [turn('running'), turn('running'), delta(1), turn('ended'), turn('running'), delta(3)])
      assert.deepEqual(asks, ['topic show', 'topic show'])
    },
  },
  {
    name: 'brings words to the other nodes, and none to who says them',
    shared: true,
    async run({ open }) {
      const [here, there] = [await open(), await open()]
      const heard: string[] = []
      here.heed((...said) => heard.push(`here: ${said.join(' ')}`))
      there.heed((...said) => heard.push(`there: ${said.join(' ')}`))
      here.tell(topic, 'show')
      here.tell(topic, 'stop')
      await until(() => heard.length >= 2, 'the words come')
      assert.deepEqual(heard, [`there: ${topic} show`, `there: ${topic} stop`])
      assert.deepEqual([here.deaf, there.deaf], [false, false])
    },
  },
  {
    name: 'tells who listens elsewhere that a frame was too large to be brought',
    shared: true,
    async run({ open }) {
      const [here, there] = [await open(), await open()]
      const heard: ServerFrame[] = []
      let [missed, elsewhere] = [0, 0]
      using _there = there.subscribe(
        topic,
        (frame) => heard.push(frame),
        () => missed++,
      )
      using _other = there.subscribe(
        userTopic('0198c0de-0000-7000-8000-000000000003'),
        () => {},
        () => elsewhere++,
      )
      await watch(there, here)
      here.publish(topic, delta(0, '驿'.repeat(200_000)))
      here.publish(topic, delta(1))
      await until(() => heard.length > 0, 'the next frame comes')
      assert.deepEqual([heard, missed, elsewhere], [[delta(1)], 1, 0])
    },
  },
]
