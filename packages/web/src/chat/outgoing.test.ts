import 'fake-indexeddb/auto'
import type { ClientFrame } from '@posthouse/contract/http'
import { beforeEach, describe, expect, it } from 'vitest'
import { openStorage, type Storage } from '../shared/storage.ts'
import { createOutgoing, type Outgoing, type OutgoingMessage } from './outgoing.ts'

let storage: Storage
let sent: Extract<ClientFrame, { type: 'send' }>[]
let wire: boolean
let timers: { at: number; action: () => void }[]
let now: number
let run = 0

function open(maySend: (message: OutgoingMessage) => boolean = () => true): Outgoing {
  return createOutgoing({
    store: storage.outgoing,
    transmit: (frame) => {
      if (wire && frame.type === 'send') sent.push(frame)
      return wire
    },
    changed: () => {},
    maySend,
    after: (milliseconds, action) => {
      const timer = { at: now + milliseconds, action }
      timers.push(timer)
      return () => {
        timers = timers.filter((one) => one !== timer)
      }
    },
  })
}

/** Lets time pass. */
function pass(milliseconds: number) {
  now += milliseconds
  const due = timers.filter((timer) => timer.at <= now)
  timers = timers.filter((timer) => timer.at > now)
  for (const timer of due) timer.action()
}

const write = (id: string, created_at: number, conversation_id = 'c'): OutgoingMessage => ({
  id,
  conversation_id,
  text: id,
  files: [],
  created_at,
})
const stored = async () => (await storage.outgoing.list()).map(({ id }) => id).sort()

beforeEach(async () => {
  run += 1
  storage = await openStorage(`outgoing-${run}`)
  sent = []
  timers = []
  now = 0
  wire = true
})

describe('messages written without a connection', () => {
  it('go out in order, one after the other, when there is one', async () => {
    const outgoing = open()
    await outgoing.add(write('a', 1))
    await outgoing.add(write('b', 2))
    expect(sent).toEqual([])
    outgoing.connected()
    expect(sent.map(({ id }) => id)).toEqual(['a'])
    await outgoing.accepted('a')
    expect(sent.map(({ id }) => id)).toEqual(['a', 'b'])
    await outgoing.accepted('b')
    expect(await stored()).toEqual([])
    expect(outgoing.list()).toEqual([])
  })

  it('survive a reload and keep their ids', async () => {
    await open().add(write('a', 1))
    const later = open()
    await later.load()
    later.connected()
    expect(sent.map(({ id }) => id)).toEqual(['a'])
  })

  it('may be taken back', async () => {
    const outgoing = open()
    await outgoing.add(write('a', 1))
    await outgoing.cancel('a')
    outgoing.connected()
    expect(sent).toEqual([])
    expect(await stored()).toEqual([])
  })

  it('of several conversations do not wait for each other', async () => {
    const outgoing = open()
    outgoing.connected()
    await outgoing.add(write('a', 1, 'one'))
    await outgoing.add(write('b', 2, 'two'))
    expect(sent.map(({ id }) => id)).toEqual(['a', 'b'])
  })
})

it('written in another tab keeps its place before ours', async () => {
  const outgoing = open(({ id }) => id !== 'theirs')
  outgoing.connected()
  await outgoing.add(write('theirs', 1))
  await outgoing.add(write('ours', 2))
  expect(sent).toEqual([])
  await outgoing.accepted('theirs')
  expect(sent.map(({ id }) => id)).toEqual(['ours'])
})

describe('a message on its way', () => {
  it('goes out again, under the same id, when the connection was lost before the answer', async () => {
    const outgoing = open()
    outgoing.connected()
    await outgoing.add(write('a', 1))
    expect(outgoing.underway().has('a')).toBe(true)
    outgoing.disconnected()
    expect(outgoing.underway().has('a')).toBe(false)
    outgoing.connected()
    expect(sent.map(({ id }) => id)).toEqual(['a', 'a'])
    await outgoing.accepted('a')
    await outgoing.accepted('a')
    expect(sent).toHaveLength(2)
  })

  it('goes out again when a living connection stays silent', async () => {
    const outgoing = open()
    outgoing.connected()
    await outgoing.add(write('a', 1))
    pass(19_999)
    expect(sent).toHaveLength(1)
    pass(1)
    expect(sent).toHaveLength(2)
  })

  it('is not lost when the wire refuses it', async () => {
    const outgoing = open()
    outgoing.connected()
    wire = false
    await outgoing.add(write('a', 1))
    expect(await stored()).toEqual(['a'])
    wire = true
    outgoing.connected()
    expect(sent.map(({ id }) => id)).toEqual(['a'])
  })

  it('is stored before it is sent', async () => {
    const order: string[] = []
    const outgoing = createOutgoing({
      store: { ...storage.outgoing, put: async () => void order.push('stored') },
      transmit: () => {
        order.push('sent')
        return true
      },
      changed: () => {},
      maySend: () => true,
      after: () => () => {},
    })
    outgoing.connected()
    await outgoing.add(write('a', 1))
    expect(order).toEqual(['stored', 'sent'])
  })
})

describe('a refusal', () => {
  it('with a time to wait holds the conversation, in order, then tries again', async () => {
    const outgoing = open()
    outgoing.connected()
    await outgoing.add(write('a', 1))
    await outgoing.add(write('b', 2))
    await outgoing.refused('a', { code: 'overloaded', message: '' }, 3000)
    pass(2999)
    expect(sent.map(({ id }) => id)).toEqual(['a'])
    pass(1)
    expect(sent.map(({ id }) => id)).toEqual(['a', 'a'])
  })

  it('for good is left to the user, also after a reload; the next message goes on', async () => {
    const outgoing = open()
    outgoing.connected()
    await outgoing.add(write('a', 1))
    await outgoing.add(write('b', 2))
    await outgoing.refused('a', { code: 'too-large', message: '' }, undefined)
    expect(sent.map(({ id }) => id)).toEqual(['a', 'b'])
    const later = open()
    await later.load()
    expect(later.list().map(({ id, refused }) => [id, refused?.code])).toEqual([
      ['a', 'too-large'],
      ['b', undefined],
    ])
    sent = []
    later.connected()
    await later.accepted('b')
    await later.retry('a')
    expect(sent.map(({ id }) => id)).toEqual(['b', 'a'])
  })
})

it('belongs to one person: another one finds nothing', async () => {
  await storage.adopt({ id: 'u1', name: 'Lin', role: 'user' })
  await storage.outgoing.put(write('a', 1))
  await storage.keepDraft({ conversation_id: 'c', text: 'secret', files: [] })
  await storage.adopt({ id: 'u1', name: 'Lin', role: 'user' })
  expect(await stored()).toEqual(['a'])
  await storage.adopt({ id: 'u2', name: 'Wu', role: 'user' })
  expect(await stored()).toEqual([])
  expect(await storage.draft('c')).toBeUndefined()
})
