/**
 * How a channel must behave, as data: run each behaviour with any test runner against a harness for the platform.
 *
 * ```ts
 * for (const behaviour of channelBehaviours) {
 *   test(behaviour.name, { skip: whyNot(behaviour, harness) }, () => behaviour.run(harness))
 * }
 * ```
 */
import assert from 'node:assert/strict'
import {
  type Block,
  type Capabilities,
  type Connection,
  DeliveryError,
  type DeliveryFailure,
  FetchError,
  type Identity,
  type Inline,
  measure,
  type OutboundMessage,
  type Place,
  PosthouseError,
  type Receipt,
} from '@posthouse/contract'
import type { FakeHost } from './host.ts'

/** The platform's side, as far as it can be played. */
export interface PlatformVerbs {
  /** A person writes to us at `place`. */
  say(text: string): void
  /** Delivers the last message once more, as the platform does when it heard no acknowledgement. */
  redeliver(): void
  /** How many messages the platform holds as not acknowledged. */
  unacknowledged(): number
  /** What people see of us at `place`, in order, formatting left out. */
  posted(): readonly string[]
  /** The next send is refused so that this kind must come of it; `unknown`: it is carried out, but the answer is lost. */
  fail(kind: DeliveryFailure): void
  /** We ourselves are seen writing (another device, an echo). */
  sayAsOurselves?(text: string): void
  /** A person sends a file. */
  sayFile?(bytes: Uint8Array): void
  /** Somebody else connects with our identity. */
  takeOver?(): void
  /** Our credentials are refused from now on. */
  revoke?(): void
}

/** One platform with one account of ours. */
export interface ChannelWorld extends AsyncDisposable {
  readonly host: FakeHost
  readonly platform: PlatformVerbs
  /** A direct place where we may write. */
  readonly place: Place
  /** What must never be logged, reported or thrown. */
  readonly secrets: readonly string[]
  /** Opens the account and keeps it listening (`openListening`); again after a disposal, with the same durable state. */
  open(): Promise<Connection>
  /** Asks the platform who we are, beside any open connection. */
  probe(): Promise<Identity | undefined>
}

export interface ChannelHarness {
  readonly capabilities: Capabilities
  /** Verbs of the platform that can't be played, with the reason. */
  readonly cannot?: Partial<Readonly<Record<keyof PlatformVerbs, string>>>
  /** Only what began as a preview can be edited on this platform. */
  readonly editsPreviewsOnly?: boolean
  /** Addresses of the calls by which messages come, where we have to fetch them. */
  readonly polls?: RegExp
  /** Kinds of failure that the platform doesn't know. */
  readonly neverFails?: readonly DeliveryFailure[]
  /** A fresh world. */
  start(): Promise<ChannelWorld>
}

export interface ChannelBehaviour {
  readonly name: string
  readonly needs: readonly (keyof PlatformVerbs)[]
  run(harness: ChannelHarness): Promise<void>
}

/** Why a behaviour can't be shown with this harness; false if it can. */
export function whyNot(behaviour: ChannelBehaviour, harness: ChannelHarness): string | false {
  const missing = behaviour.needs.find((verb) => harness.cannot?.[verb] !== undefined)
  return missing === undefined ? false : `${missing}: ${harness.cannot?.[missing]}`
}

type Show = (world: ChannelWorld, connection: Connection, harness: ChannelHarness) => Promise<void>

function behaviour(name: string, needs: ChannelBehaviour['needs'], show: Show): ChannelBehaviour {
  return {
    name,
    needs,
    run: async (harness) => {
      await using world = await harness.start()
      await using connection = await world.open()
      await show(world, connection, harness)
      for (const secret of world.secrets) {
        assert.ok(!world.host.said.some((line) => line.includes(secret)), 'a secret was logged or reported')
      }
    },
  }
}

const text = (value: string): Inline => ({ type: 'text', text: value })
const paragraph = (...children: Inline[]): Block => ({ type: 'paragraph', children })

function outbound(world: ChannelWorld, document: readonly Block[], id = 'message-1'): OutboundMessage {
  return { id, to: world.place, text: '', document }
}

async function sendAll(world: ChannelWorld, connection: Connection, document: readonly Block[], id = 'message-1', draft = false) {
  const pieces = connection.render(outbound(world, document, id))
  const receipts = []
  for (const [index, piece] of pieces.entries()) {
    const options = { idempotencyKey: `${id}:${index}`, signal: new AbortController().signal }
    receipts.push(await connection.send(piece, world.place, draft ? { ...options, draft } : options))
  }
  return { pieces, receipts }
}

/** Waits for a state of the world. */
export async function until(holds: () => boolean, what: string, timeout = 10_000): Promise<void> {
  for (const end = Date.now() + timeout; !holds(); ) {
    if (Date.now() > end) throw new Error(`did not come true within ${timeout} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** Gives a wrong acknowledgement the time to happen: some round trips to the platform. */
async function roundTrips({ probe }: ChannelWorld): Promise<void> {
  for (let trip = 0; trip < 5; trip++) await probe()
}

/** From now on no call of ours is answered, but those that match; `end` makes them fail. To be called before the account is opened. */
function stallable({ host }: ChannelWorld, answered: RegExp | undefined): { stall(): void; end(): void } {
  const { fetch } = host
  const { promise: unanswered, reject } = Promise.withResolvers<never>()
  unanswered.catch(() => undefined)
  let stalled = false
  const gate: typeof fetch = (...[url, init]) => (stalled && !answered?.test(url) ? unanswered : fetch(url, init))
  Object.assign(host, { fetch: gate })
  return {
    stall() {
      stalled = true
    },
    end() {
      stalled = false
      reject(new FetchError('timeout', 'nobody answered'))
    },
  }
}

export const channelBehaviours: readonly ChannelBehaviour[] = [
  {
    name: 'what is asked of the platform, and never answered, holds no acknowledgement',
    needs: ['say', 'unacknowledged'],
    async run(harness) {
      await using world = await harness.start()
      const calls = stallable(world, harness.polls)
      await using _connection = await world.open()
      calls.stall()
      try {
        world.platform.say('hello')
        await until(() => world.host.inbox.length === 1, 'the message is admitted')
        await until(() => world.platform.unacknowledged() === 0, 'and acknowledged')
      } finally {
        calls.end()
      }
    },
  },
  behaviour('acknowledges only after the message was admitted', ['say', 'unacknowledged'], async (world) => {
    const { host, platform } = world
    const admitted = Promise.withResolvers<void>()
    host.gate = () => admitted.promise
    platform.say('hold me')
    await until(() => host.attempts.length > 0, 'the message is handed over')
    await roundTrips(world)
    assert.equal(platform.unacknowledged(), 1)
    admitted.resolve()
    await until(() => platform.unacknowledged() === 0, 'the message is acknowledged')
    assert.equal(host.inbox.length, 1)
  }),

  behaviour('a message that was refused comes again', ['say', 'unacknowledged'], async ({ host, platform }) => {
    let refusals = 2
    host.gate = () => {
      if (refusals-- > 0) throw new PosthouseError('overloaded', undefined, { retryAfter: 1 })
    }
    platform.say('again')
    await until(() => host.inbox.length === 1 && platform.unacknowledged() === 0, 'the message is admitted in the end')
    assert.equal(new Set(host.attempts.map((message) => message.key)).size, 1)
    assert.ok(host.attempts.length >= 3)
  }),

  behaviour('the same message has the same key whenever it comes', ['say', 'redeliver', 'unacknowledged'], async ({ host, platform }) => {
    platform.say('twice')
    await until(() => host.inbox.length === 1 && platform.unacknowledged() === 0, 'the first delivery')
    platform.redeliver()
    await until(() => host.attempts.length === 2 && platform.unacknowledged() === 0, 'the second delivery')
    assert.equal(host.inbox.length, 1)
  }),

  behaviour('messages of one place keep their order, also over refusals', ['say', 'unacknowledged'], async ({ host, platform }) => {
    const texts = Array.from({ length: 30 }, (_, index) => `message ${index}`)
    let calls = 0
    host.gate = () => {
      if (++calls % 7 === 3) throw new PosthouseError('overloaded', undefined, { retryAfter: 1 })
    }
    for (const said of texts) platform.say(said)
    await until(() => host.inbox.length === texts.length && platform.unacknowledged() === 0, 'all messages')
    assert.deepEqual(
      host.inbox.map((message) => message.parts.map((part) => (part.type === 'text' ? part.text : '')).join('')),
      texts,
    )
  }),

  behaviour('a message is decoded with author, place and time', ['say'], async ({ host, platform, place }) => {
    const before = Date.now()
    platform.say('who am I')
    await until(() => host.inbox.length === 1, 'the message')
    const message = host.inbox[0]
    assert.equal(message?.place.room, place.room)
    assert.equal(message?.place.type, 'direct')
    assert.equal(message?.addressed, true)
    assert.equal(message?.kind, 'message')
    assert.ok(message?.author.id && message.key && message.id)
    assert.ok(message && Math.abs(message.sentAt - before) < 60_000, 'the time is in milliseconds of the epoch')
  }),

  behaviour('we never answer ourselves', ['sayAsOurselves', 'say', 'unacknowledged'], async ({ host, platform }) => {
    platform.sayAsOurselves?.('an echo')
    platform.say('a person')
    await until(
      () => host.inbox.some((message) => message.parts.some((part) => part.type === 'text' && part.text === 'a person')),
      'the person',
    )
    await until(() => platform.unacknowledged() === 0, 'the echo is not asked for for ever')
    assert.equal(host.inbox.filter((message) => message.addressed).length, 1)
  }),

  behaviour('every form of Markdown is accepted, its words in order', ['posted'], async (world, connection) => {
    await sendAll(world, connection, everyForm)
    const posted = world.platform.posted().join('\n')
    let at = 0
    for (const word of everyWord) {
      const found = posted.indexOf(word, at)
      assert.ok(found >= 0, `"${word}" is missing or out of order in:\n${posted}`)
      at = found
    }
  }),

  behaviour('100 KB arrive whole, in order, in as many pieces as the platform needs', ['posted'], async (world, connection, harness) => {
    const words = Array.from({ length: 12_500 }, (_, index) => `w${index.toString(36).padStart(4, '0')}. `)
    const document = Array.from({ length: 25 }, (_, index) => paragraph(text(words.slice(index * 500, index * 500 + 500).join(''))))
    const { pieces } = await sendAll(world, connection, document)
    const { limit, unit } = harness.capabilities.maxText
    assert.equal(pieces.length > 1, measure(words.join(''), unit) > limit)
    for (const piece of pieces) assert.ok(measure(piece.text, unit) <= limit, 'a piece is longer than the platform takes')
    assert.deepEqual(
      world.platform.posted().join(' ').split(/\s+/).filter(Boolean),
      words.map((word) => word.trim()),
    )
  }),

  behaviour('nothing visible makes no message', ['posted'], async (world, connection) => {
    for (const document of [[], [paragraph()], [paragraph(text(' \u200b '))], [{ type: 'code', language: '', text: '\n' } as Block]]) {
      assert.deepEqual(connection.render(outbound(world, document)), [])
    }
  }),

  behaviour('rendering is pure', [], async (world, connection) => {
    const render = () => connection.render(outbound(world, everyForm))
    assert.deepEqual(render(), render())
  }),

  behaviour('failures have the right kind, and the next send works', ['fail', 'posted'], async (world, connection, harness) => {
    const kinds: DeliveryFailure[] = ['transient', 'rate-limited', 'auth', 'permission', 'not-found', 'invalid', 'conflict']
    for (const kind of kinds.filter((candidate) => !harness.neverFails?.includes(candidate))) {
      world.platform.fail(kind)
      await assert.rejects(sendAll(world, connection, [paragraph(text(`fails with ${kind}`))], kind), (error: unknown) => {
        assert.ok(error instanceof DeliveryError, String(error))
        assert.equal(error.kind, kind, error.message)
        if (kind === 'rate-limited') assert.ok((error.retryAfter ?? 0) > 0, 'how long to wait is told')
        for (const secret of world.secrets) assert.ok(!JSON.stringify([error.message, error.stack, String(error.cause)]).includes(secret))
        return true
      })
    }
    assert.deepEqual(world.platform.posted(), [])
    await sendAll(world, connection, [paragraph(text('works'))])
    assert.deepEqual(world.platform.posted(), ['works'])
  }),

  behaviour('a send whose answer was lost is unknown, never "not sent"', ['fail', 'posted'], async (world, connection) => {
    world.platform.fail('unknown')
    const sent = sendAll(world, connection, [paragraph(text('maybe'))])
    await assert.rejects(sent, (error: unknown) => error instanceof DeliveryError && error.kind === 'unknown')
    assert.deepEqual(world.platform.posted(), ['maybe'])
  }),

  behaviour('a send that is stopped before it began is cancelled', ['posted'], async (world, connection) => {
    const [piece] = connection.render(outbound(world, [paragraph(text('never'))]))
    assert.ok(piece)
    const sent = connection.send(piece, world.place, { idempotencyKey: 'k', signal: AbortSignal.abort() })
    await assert.rejects(sent, (error: unknown) => error instanceof DeliveryError && error.kind === 'cancelled')
    assert.deepEqual(world.platform.posted(), [])
  }),

  behaviour('an edit can be repeated', ['posted'], async (world, connection, { editsPreviewsOnly }) => {
    if (!connection.edit) return
    const { receipts } = await sendAll(world, connection, [paragraph(text('draft'))], 'edited', editsPreviewsOnly)
    const [piece] = connection.render(outbound(world, [paragraph(text('final'))]))
    const [receipt] = receipts
    assert.ok(receipt && piece)
    for (let time = 0; time < 2; time++) {
      const edited: Receipt = await connection.edit(receipt, piece, { idempotencyKey: 'edit', signal: new AbortController().signal })
      assert.deepEqual(edited, receipt)
    }
    assert.deepEqual(world.platform.posted(), ['final'])
  }),

  behaviour('closing is quiet, and what came meanwhile comes after', ['say', 'unacknowledged'], async (world, connection) => {
    const { host, platform } = world
    platform.say('before')
    await until(() => host.inbox.length === 1 && platform.unacknowledged() === 0, 'the first message')
    await connection[Symbol.asyncDispose]()
    const calls = host.attempts.length
    platform.say('meanwhile')
    assert.equal(host.attempts.length, calls)
    await using _reopened = await world.open()
    await until(() => host.inbox.length === 2 && platform.unacknowledged() === 0, 'the message said meanwhile')
  }),

  behaviour('closing in the middle of a message loses nothing', ['say', 'unacknowledged'], async (world, connection) => {
    const { host, platform } = world
    const admitted = Promise.withResolvers<void>()
    host.gate = () => admitted.promise
    platform.say('in the middle')
    await until(() => host.attempts.length === 1, 'the message is handed over')
    const closed = connection[Symbol.asyncDispose]()
    admitted.resolve()
    await closed
    assert.equal(host.inbox.length, 1)
    host.gate = () => undefined
    await using _reopened = await world.open()
    await until(() => platform.unacknowledged() === 0, 'the message is acknowledged now at the latest')
    assert.equal(host.inbox.length, 1)
  }),

  behaviour('a file is fetched whole, and refused above the limit', ['sayFile', 'say'], async ({ host, platform }, connection) => {
    const bytes = Uint8Array.from({ length: 100_000 }, (_, index) => index % 251)
    platform.sayFile?.(bytes)
    await until(() => host.inbox.length === 1, 'the file')
    const part = host.inbox[0]?.parts.find((candidate) => candidate.type === 'file')
    assert.ok(part?.type === 'file' && connection.download)
    const fetched = async (limit: number) => {
      const chunks: Uint8Array[] = []
      for await (const chunk of (await connection.download?.(part.file, limit, new AbortController().signal)) ?? []) chunks.push(chunk)
      return Buffer.concat(chunks)
    }
    assert.deepEqual(await fetched(100_000), Buffer.from(bytes))
    await assert.rejects(fetched(99_999), (error: unknown) => error instanceof PosthouseError && error.code === 'too-large')
  }),

  behaviour('health is told by what was received', [], async ({ host, probe }) => {
    await until(() => host.signs > 0, 'a sign of life')
    assert.equal(host.reports.at(-1)?.state, 'connected')
    const us = await probe()
    assert.ok(!us || (us.id && us.name))
  }),

  behaviour('somebody else with our identity is a conflict', ['takeOver'], async ({ host, platform }) => {
    platform.takeOver?.()
    await until(() => host.reports.some((report) => report.state === 'conflict' && report.problem), 'the conflict is reported')
  }),

  behaviour('refused credentials are reported, and tried again', ['revoke'], async ({ host, platform, probe }) => {
    platform.revoke?.()
    await until(() => host.reports.some((report) => report.state === 'needs-auth' && report.problem), 'the refusal is reported')
    await assert.rejects(probe(), (error: unknown) => error instanceof DeliveryError && error.kind === 'auth')
  }),
]

const everyWord =
  'heading,plain,bold,italic,struck,code<&>,label,picture,second,fenced();,quoted,inner,task,one,nested,two,alpha,beta,本文,last'.split(',')

const everyForm: readonly Block[] = [
  { type: 'heading', level: 2, children: [text('heading')] },
  paragraph(
    text('plain <b>&amp; "quotes" '),
    {
      type: 'strong',
      children: [text('bold '), { type: 'emphasis', children: [text('italic'), { type: 'strike', children: [text('struck')] }] }],
    },
    { type: 'strong', children: [{ type: 'code', text: 'code<&>' }] },
    { type: 'link', href: 'https://example.com/?a=1&b="2"', children: [text('label')] },
    { type: 'image', src: 'https://example.com/i.png', alt: 'picture' },
    { type: 'break' },
    text('second'),
  ),
  { type: 'code', language: 'js', text: 'fenced();\n\tif (a < b && c) {}' },
  { type: 'quote', children: [paragraph(text('quoted')), { type: 'quote', children: [paragraph(text('inner'))] }] },
  { type: 'list', ordered: false, start: 1, items: [{ checked: true, children: [paragraph(text('task'))] }] },
  {
    type: 'list',
    ordered: true,
    start: 7,
    items: [
      {
        children: [paragraph(text('one')), { type: 'list', ordered: false, start: 1, items: [{ children: [paragraph(text('nested'))] }] }],
      },
      { children: [paragraph(text('two'))] },
    ],
  },
  { type: 'table', header: [[text('alpha')], [text('wide')]], rows: [[[text('beta')], [text('本文 '.repeat(20))]]] },
  { type: 'rule' },
  paragraph(text('last 👩‍👩‍👧‍👦 שלום')),
]
