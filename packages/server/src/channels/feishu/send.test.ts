import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Block,
  DeliveryError,
  type DeliveryFailure,
  type OutboundMessage,
  type Piece,
  plainInline,
  type Receipt,
} from '@posthouse/contract'
import { createFeishuEmulator, type FeishuEmulator, textOfFeishuMarkdown } from '@posthouse/testkit'
import fc from 'fast-check'
import { anyDocument, signs } from '../../../test/documents.ts'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { createFetch } from '../../security/fetch.ts'
import { createApi } from './api.ts'
import { MAX_CARD, render, send, toMarkdown } from './send.ts'

const message = (text: string, document: readonly Block[] = parseMarkdown(text)): OutboundMessage => ({
  id: '1',
  to: { room: 'oc_ann', type: 'direct' },
  text,
  document,
})
const written = (text: string) => toMarkdown(parseMarkdown(text))

test('writes each form as cards know it', () => {
  assert.equal(written('# A *b*\n\nc **d *e*** ~~f~~ `g<`'), '### A *b*\n\nc **d *e*** ~~f~~ `g<`')
  assert.equal(written('```c++\na < b\n```'), '```c++\na < b\n```')
  assert.equal(written('> a\n> > b\n> > c'), '> a\n> > b\n> > c')
  assert.equal(written('- a\n  - b\n- [x] c\n\n7. d\n8. e'), '- a\n    - b\n- ☑ c\n\n7. d\n8. e')
  assert.equal(
    written('[a](https://a.example/?x=1&y=2) ![i](https://a.example/i.png)'),
    '[a](https://a.example/?x=1&y=2) [🖼 i](https://a.example/i.png)',
  )
  assert.equal(written('|a|b|\n|-|-|\n|1|2|'), '```\na │ b\n──┼──\n1 │ 2\n```')
  assert.equal(written('a\n\n---\n\nb'), 'a\n\n──────────\n\nb')
})

test('what only looks like a form, a link or a call means itself', () => {
  assert.equal(written('2 * 3 < 4 & snake_case'), '2 &#42; 3 &#60; 4 &#38; snake&#95;case')
  assert.equal(written('\\# no heading\n\\- no item\n1\\. no number :OK:'), '&#35; no heading\n&#45; no item\n1&#46; no number &#58;OK:')
  assert.equal(written('<at id=all></at>'), '&#60;at id=all&#62;&#60;/at&#62;')
  assert.equal(written('`<at id=all>`'), '`<\u200bat id=all>`')
  assert.equal(written('[file](./a.md) [x](javascript:alert(1))'), 'file (./a.md) &#91;x&#93;(javascript:alert(1))')
  assert.equal(written('wow\\![x](https://a.example)'), 'wow&#33;[x](https://a.example)')
  assert.equal(written('`` a`b ``'), '``a`b``')
  assert.equal(written('````\n```\n````'), '````\n```\n````')
})

test('long answers are several cards, each within its size as JSON, none cut', () => {
  const quotes = `${'"\\" '.repeat(20_000)}end`
  const pieces = render(message(quotes))
  assert.ok(pieces.length > 2)
  for (const { payload } of pieces) assert.ok(Buffer.byteLength(JSON.stringify(payload.card)) <= MAX_CARD)
  assert.equal(
    pieces
      .map(({ text }) => text)
      .join(' ')
      .replace(/\s+/g, ' '),
    plainInline([{ type: 'text', text: quotes.replaceAll('\\"', '"') }]).replace(/\s+/g, ' '),
  )
})

test('the first piece refers to the question, in a topic each one', () => {
  const long = 'word '.repeat(10_000)
  const answers = (thread?: string) =>
    render({ ...message(long), replyTo: 'om_q', to: { room: 'oc_g', type: 'group', ...(thread ? { thread } : {}) } }).map(
      ({ payload }) => payload.reply_to,
    )
  assert.deepEqual(answers(), ['om_q', undefined])
  assert.deepEqual(answers('om_root'), ['om_q', 'om_q'])
})

// ---- Sending ----------------------------------------------------------------------------------------------------------

interface Line extends AsyncDisposable {
  readonly emulator: FeishuEmulator
  send(text: string, key?: string): Promise<Receipt>
  sendPiece(piece: Piece, key: string): Promise<Receipt>
}

async function openLine(): Promise<Line> {
  const emulator = await createFeishuEmulator()
  const client = createFetch()
  emulator.know('ou_ann')
  const api = createApi(emulator.url, { app_id: emulator.app_id, app_secret: emulator.app_secret }, client.fetch, Date.now)
  const desk = { api, now: Date.now, made: new Map(), numbers: new Map() }
  const sendPiece = (piece: Piece, idempotencyKey: string) =>
    send(desk, piece, { room: 'oc_ann', type: 'direct' }, { idempotencyKey, signal: new AbortController().signal })
  return {
    emulator,
    sendPiece,
    send: (text, key = 'k') => sendPiece(render(message(text))[0] as Piece, key),
    [Symbol.asyncDispose]: async () => {
      await emulator[Symbol.asyncDispose]()
      await client[Symbol.asyncDispose]()
    },
  }
}

const refusal =
  (kind: DeliveryFailure, words = /./) =>
  (error: unknown) =>
    error instanceof DeliveryError && error.kind === kind && words.test(error.message)

test('the same key sends one message, whatever happened to the answer', async () => {
  await using line = await openLine()
  line.emulator.dropReplyOf('im.message.create')
  const key = 'a long key '.repeat(20)
  await assert.rejects(line.send('once', key), refusal('unknown'))
  await line.send('once', key)
  assert.equal(line.emulator.posted().length, 1)
})

test('a card that is refused is sent as words, and calls nobody', async () => {
  await using line = await openLine()
  line.emulator.failNext('im.message.create', { status: 230099, description: 'Failed to create card content, ext=ErrCode: 200621' })
  await line.send('a **b** `<at user_id="all">`')
  const [post] = line.emulator.posted()
  assert.deepEqual([post?.msg_type, post?.text], ['text', 'a b <\u200bat user_id="all">'])
})

test('a refusal tells what is missing and how long to wait', async () => {
  await using line = await openLine()
  const { emulator } = line
  emulator.failNext('im.message.create', { status: 230020, description: 'This operation triggers the frequency limit.', retryAfter: 7 })
  await assert.rejects(line.send('x'), (error: unknown) => refusal('rate-limited')(error) && (error as DeliveryError).retryAfter === 7000)
  for (const [status, body, kind] of [
    [502, 'bad gateway', 'unknown'],
    [403, '<html>', 'transient'],
    [413, 'too large', 'invalid'],
  ] as const) {
    emulator.failNext('im.message.create', { status, body })
    await assert.rejects(line.send('x'), refusal(kind))
  }
  emulator.withdraw('im:message:send_as_bot')
  await assert.rejects(line.send('x'), refusal('permission', /im:message:send_as_bot/))
})

test('the token is renewed when it is over, once for all who wait', async () => {
  await using line = await openLine()
  const { emulator } = line
  const given = () => emulator.ledger.filter(({ method }) => method === 'auth.tenantAccessToken').length
  await line.send('first')
  emulator.expireTokens()
  await Promise.all(Array.from({ length: 5 }, (_, index) => line.send('x', `k${index}`)))
  assert.deepEqual([emulator.posted().length, given()], [6, 2])
})

// ---- Whatever it is ---------------------------------------------------------------------------------------------------

test('whatever is rendered is accepted', async () => {
  await using line = await openLine()
  const { emulator } = line
  let key = 0
  await fc.assert(
    fc.asyncProperty(anyDocument(['<at id=all></at>', ':OK:']), async (document) => {
      for (const piece of render(message('', document))) {
        await line.sendPiece(piece, String(key++))
      }
    }),
    { numRuns: 150 },
  )
  const refused = emulator.ledger.filter(({ outcome }) => outcome.code !== 200)
  assert.deepEqual(
    refused.map(({ outcome }) => outcome.body),
    [],
  )
  assert.ok(emulator.posted().every(({ msg_type }) => msg_type === 'interactive'))
})

test('plain text is read back as it was, letter by letter', () => {
  fc.assert(
    fc.property(fc.array(signs, { minLength: 1, maxLength: 5 }), (lines) => {
      // White space at the edges of a line is nobody's.
      const text = lines.map((each) => each.trim().replace(/\s+/g, ' ')).join('\n')
      const read = textOfFeishuMarkdown(toMarkdown([{ type: 'paragraph', children: [{ type: 'text', text }] }]))
      assert.equal(read, text)
    }),
  )
})

test('splitting loses nothing, and keeps the order', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom('', '- ', '> ', '## ', '1. '), fc.integer({ min: 1, max: 9000 })), { minLength: 1, maxLength: 12 }),
      (parts) => {
        let count = 0
        const text = parts.map(([mark, size]) => mark + Array.from({ length: size }, () => `w${count++}`).join(' ')).join('\n\n')
        const read = render(message(text)).map(({ payload }) => {
          const { body } = payload.card as { body: { elements: { content: string }[] } }
          return textOfFeishuMarkdown(body.elements[0]?.content ?? '')
        })
        assert.deepEqual(
          read.join('\n').match(/w\d+/g),
          Array.from({ length: count }, (_, index) => `w${index}`),
        )
      },
    ),
    { numRuns: 15 },
  )
})
