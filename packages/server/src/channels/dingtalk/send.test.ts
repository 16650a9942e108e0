import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Block, OutboundMessage, Piece } from '@posthouse/contract'
import { createDingtalkEmulator, textOfDingtalkMarkdown } from '@posthouse/testkit'
import fc from 'fast-check'
import { anyDocument, signs } from '../../../test/documents.ts'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { createFetch } from '../../security/fetch.ts'
import { createApi } from './api.ts'
import { type Desk, edit, MAX_BODY, render, send, toMarkdown } from './send.ts'

const message = (text: string, document: readonly Block[] = parseMarkdown(text)): OutboundMessage => ({
  id: '1',
  to: { room: 'ann', type: 'direct' },
  text,
  document,
})
const written = (text: string) => toMarkdown(parseMarkdown(text))
const markdownIn = ({ payload }: Piece) => payload.markdown as { title: string; text: string }

test('writes each form as robots know it', () => {
  assert.equal(written('# A *b*\n\nc **d *e*** ~~f~~ `g<`'), '# A *b*\n\nc **d *e*** f `g<`')
  assert.equal(written('```c++\na < b\n```'), '```c++\na < b\n```')
  assert.equal(written('> a\n> > b\n> > c'), '> a\n> > b  \n> > c')
  assert.equal(written('- a\n  - b\n- [x] c\n\n7. d\n8. e'), '- a\n    - b\n- ☑ c\n\n7. d\n8. e')
  assert.equal(
    written('[a](https://a.example/?x=1&y=2) ![i](https://a.example/i.png)'),
    '[a](https://a.example/?x=1&y=2) [🖼 i](https://a.example/i.png)',
  )
  assert.equal(written('|a|b|\n|-|-|\n|1|2|'), '```\na │ b\n──┼──\n1 │ 2\n```')
  assert.equal(written('a\nb\n\n---\n\nc'), 'a  \nb\n\n──────────\n\nc')
})

test('what only looks like a form or a link means itself', () => {
  assert.equal(written('2 * 3 < 4 & snake_case'), '2 * 3 < 4 & snake_case')
  assert.equal(written('\\*a\\* \\_b\\_ \\`c\\` \\\\'), '\\*a\\* \\_b\\_ \\`c\\` \\\\')
  assert.equal(written('\\# no heading\n\\- no item\n1\\. no number'), '\\# no heading  \n\\- no item  \n1\\. no number')
  assert.equal(written('&lt;b> &amp;lt;'), '&lt;b> &amp;lt;')
  assert.equal(written('[file](./a.md) [x](javascript:alert(1))'), 'file (./a.md) [x\\](javascript:alert(1))')
  assert.equal(written('wow\\![x](https://a.example)'), 'wow\\![x](https://a.example)')
  assert.equal(written('`` a`b ``'), '``a`b``')
  assert.equal(written('````\n```\n````'), '````\n```\n````')
})

test('titles are the first words, and never empty', () => {
  const titleOf = (text: string) => markdownIn(render(message(text))[0] as Piece).title
  assert.equal(titleOf('# The **long** road\n\nbegins'), 'The long road begins')
  assert.equal([...titleOf('驿站 '.repeat(100))].length, 40)
})

test('long answers are several messages, each within its size as it is sent, none cut', () => {
  const quotes = `${'"\\" '.repeat(20_000)}end`
  const pieces = render(message(quotes))
  assert.ok(pieces.length > 2)
  for (const piece of pieces) {
    const body = JSON.stringify({
      robotCode: 'x'.repeat(100),
      userIds: ['x'.repeat(100)],
      msgKey: 'sampleMarkdown',
      msgParam: JSON.stringify(markdownIn(piece)),
    })
    assert.ok(Buffer.byteLength(body) <= 20_000)
    assert.ok(Buffer.byteLength(piece.text) <= MAX_BODY)
  }
  assert.equal(
    pieces
      .map(({ text }) => text)
      .join(' ')
      .match(/"/g)?.length,
    40_000,
  )
})

// ---- Whatever it is ---------------------------------------------------------------------------------------------------

test('whatever is rendered is accepted, by either interface and in a card', async () => {
  await using emulator = await createDingtalkEmulator()
  await using client = createFetch()
  emulator.know('ann')
  const roots = { base_url: emulator.url, old_base_url: emulator.url }
  const api = createApi(roots, emulator, client.fetch, Date.now)
  const { sessionWebhook } = emulator.say({ text: 'hi', from: 'ann' })
  const desk: Desk = {
    api,
    robot: emulator.robot_code,
    card: { template: emulator.card_template_id, key: 'content' },
    sessions: { find: async () => (turn++ % 2 ? undefined : sessionWebhook), forget: () => assert.fail('the address was refused') },
    tried: new Map(),
  }
  let turn = 0
  let key = 0
  await fc.assert(
    fc.asyncProperty(anyDocument(['<font>']), async (document) => {
      for (const piece of render(message('', document))) {
        const options = { idempotencyKey: String(key++), signal: new AbortController().signal }
        const to = { room: 'ann', type: 'direct' } as const
        await send(desk, piece, to, options)
        await edit(desk, await send(desk, piece, to, { ...options, draft: true }), piece, options)
      }
    }),
    { numRuns: 100 },
  )
  assert.deepEqual(
    emulator.ledger.flatMap(({ outcome }) => (outcome.code === 200 ? [] : [outcome.body])),
    [],
  )
  assert.equal(emulator.posted('ann').length, key * 2)
})

test('plain text is read back as it was, letter by letter', () => {
  fc.assert(
    fc.property(fc.array(signs, { minLength: 1, maxLength: 5 }), (lines) => {
      // White space at the edges of a line is nobody's.
      const text = lines.map((each) => each.trim().replace(/\s+/g, ' ')).join('\n')
      const read = textOfDingtalkMarkdown(toMarkdown([{ type: 'paragraph', children: [{ type: 'text', text }] }]))
      assert.equal(read.replace(/ +$/gm, ''), text)
    }),
    { numRuns: 500 },
  )
})

test('splitting loses nothing, and keeps the order', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom('', '- ', '> ', '## ', '1. '), fc.integer({ min: 1, max: 9000 })), { minLength: 1, maxLength: 12 }),
      (parts) => {
        let count = 0
        const text = parts.map(([mark, size]) => mark + Array.from({ length: size }, () => `w${count++}`).join(' ')).join('\n\n')
        const read = render(message(text)).map((piece) => textOfDingtalkMarkdown(markdownIn(piece).text))
        assert.deepEqual(
          read.join('\n').match(/w\d+/g),
          Array.from({ length: count }, (_, index) => `w${index}`),
        )
      },
    ),
    { numRuns: 15 },
  )
})
