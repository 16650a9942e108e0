import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OutboundMessage } from '@posthouse/contract'
import { readSlackBlocks } from '@posthouse/testkit'
import fc from 'fast-check'
import { assertShown, hostileMarkdown, linksIn, seen } from '../../../test/documents.ts'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { ApiError } from './api.ts'
import { MAX_TEXT, MAX_UPLOAD, render, toDeliveryError } from './send.ts'
import { type RichElement, toRichText } from './text.ts'

const message = (text: string, document = parseMarkdown(text)): OutboundMessage => ({
  id: '1',
  to: { room: 'C1', type: 'group' },
  text,
  document,
})
const rich = (text: string) => toRichText(parseMarkdown(text))
const section = (...elements: object[]) => ({ type: 'rich_text_section', elements })
const text = (value: string, style?: object) => ({ type: 'text', text: value, ...(style ? { style } : {}) })

test('writes each form as rich text', () => {
  assert.deepEqual(rich('# A *b*\n\nc **d *e*** ~~f~~ `g<`'), [
    section(
      text('A ', { bold: true }),
      text('b', { bold: true, italic: true }),
      text('\n\nc '),
      text('d ', { bold: true }),
      text('e', { bold: true, italic: true }),
      text(' '),
      text('f', { strike: true }),
      text(' '),
      text('g<', { code: true }),
    ),
  ])
  assert.deepEqual(rich('中文**粗体**中文'), [section(text('中文'), text('粗体', { bold: true }), text('中文'))])
  assert.deepEqual(rich('```js\na < b\n```'), [{ type: 'rich_text_preformatted', elements: [text('a < b')] }])
  assert.deepEqual(rich('<!channel> <@U1>'), [section(text('<!channel> <@U1>'))])
  assert.deepEqual(rich('[a](https://a.example/?x=1) [b](./b) ![i](https://a.example/i.png)'), [
    section({ type: 'link', url: 'https://a.example/?x=1', text: 'a' }, text(' b (./b) '), {
      type: 'link',
      url: 'https://a.example/i.png',
      text: '🖼 i',
    }),
  ])
})

test('lists keep their levels and numbers around what stands in them', () => {
  const item = (value: string) => section(text(value))
  assert.deepEqual(rich('3. a\n   - b\n   - [x] c\n4. d\n\n   ```\n   e\n   ```\n5. f'), [
    { type: 'rich_text_list', style: 'ordered', indent: 0, offset: 2, elements: [item('a')] },
    { type: 'rich_text_list', style: 'bullet', indent: 1, elements: [item('b'), item('☑ c')] },
    { type: 'rich_text_list', style: 'ordered', indent: 0, offset: 3, elements: [item('d')] },
    { type: 'rich_text_preformatted', elements: [text('e')] },
    { type: 'rich_text_list', style: 'ordered', indent: 0, offset: 4, elements: [item('f')] },
  ])
})

test('quotes have one level in Slack, the inner ones are marked', () => {
  assert.deepEqual(rich('> a\n>\n> > b\n>\n> - c'), [
    { type: 'rich_text_quote', elements: [text('a\n\n> b')] },
    { type: 'rich_text_list', style: 'bullet', indent: 0, border: 1, elements: [section(text('c'))] },
  ])
})

test('tables are columns where a phone has room, else lists', () => {
  assert.deepEqual(rich('|a|b|\n|-|-|\n|1|2|'), [{ type: 'rich_text_preformatted', elements: [text('a │ b\n──┼──\n1 │ 2')] }])
  const wide = 'x'.repeat(50)
  assert.deepEqual(rich(`|a|b|\n|-|-|\n|1|${wide}|`), [
    {
      type: 'rich_text_list',
      style: 'bullet',
      indent: 0,
      elements: [section(text('a', { bold: true }), text(': 1\n'), text('b', { bold: true }), text(`: ${wide}`))],
    },
  ])
})

test('a stream gets the source, in which nobody is mentioned; what takes several messages gets none', () => {
  const source = (value: string) => render(message(value))[0]?.payload.markdown_text
  assert.equal(source('**a** <@U1> b'), '**a** <\u2060@U1> b')
  // What follows decides what it is, so it waits.
  assert.equal(source('a <'), 'a ')
  assert.equal(source('x'.repeat(13_000)), undefined)
})

test('a file that is too large is a link, where there is one', () => {
  const file = { kind: 'file' as const, name: 'a<b', size: MAX_UPLOAD + 1, open: async function* () {} }
  const [linked] = render({ ...message(''), files: [{ ...file, link: 'https://gateway.example/f/1' }] })
  assert.deepEqual([linked?.file, linked?.payload.text], [undefined, 'a&lt;b'])
  assert.match(JSON.stringify(linked?.payload.blocks), /gateway\.example/)
  assert.equal(render({ ...message(''), files: [file] })[0]?.file, file)
})

test('a refusal has the kind that its page means', () => {
  const kind = (code: string, status = 200, fromSlack = true) =>
    toDeliveryError(new ApiError('chat.postMessage', code, { status, fromSlack })).kind
  assert.equal(kind('token_expired'), 'auth')
  assert.equal(kind('is_archived'), 'not-found')
  assert.equal(kind('restricted_action_thread_locked'), 'permission')
  assert.equal(kind('msg_blocks_too_long'), 'invalid')
  assert.equal(kind('a_word_of_tomorrow'), 'invalid')
  // It may have been carried out in part, says its page.
  assert.equal(kind('fatal_error'), 'unknown')
  assert.equal(kind('internal_error', 500), 'unknown')
  assert.equal(kind('ratelimited', 429), 'rate-limited')
  assert.equal(kind('http_502', 502, false), 'unknown')
  assert.equal(kind('http_403', 403, false), 'transient')
  assert.equal(kind('http_413', 413, false), 'invalid')
  assert.ok((toDeliveryError(new ApiError('x', 'rate_limited', { status: 200, fromSlack: true })).retryAfter ?? 0) > 0)
})

test('what has no shape is no message, also in a quote', () => {
  for (const text of ['\u200b', '>\u200b', '> > \u200b\n> a'])
    assert.equal(render(message(text)).length, text.endsWith('a') ? 1 : 0, JSON.stringify(text))
})

test('hostile inputs take bounded time and stay acceptable', () => {
  const inputs = [
    `${'>'.repeat(10_000)} x`,
    `|a|b|\n|-|-|\n${'|x|y|\n'.repeat(20_000)}`,
    'x'.repeat(1_000_000),
    `\`\`\`\n${'y'.repeat(1_000_000)}`,
    '*a **b '.repeat(50_000),
    `- ${'- '.repeat(500)}x`,
    '&'.repeat(100_000),
  ]
  for (const input of inputs) {
    const started = process.cpuUsage()
    for (const piece of render(message(input))) check(piece.payload)
    const { user } = process.cpuUsage(started)
    assert.ok(user < 20_000_000, `${input.slice(0, 20)}: ${user / 1e6} s`)
  }
})

/** Throws what Slack would refuse. */
function check(payload: Readonly<Record<string, unknown>>): string {
  assert.ok(JSON.stringify(payload.blocks).length <= MAX_TEXT)
  assert.ok(String(payload.text).length <= 40_000)
  return readSlackBlocks(payload.blocks)
}

// ---- Any Markdown -----------------------------------------------------------------------------------------------------

const markdown = hostileMarkdown({
  own: ['\n> > ', '\n0. ', '\n      - ', '<b>', '<!channel>', '<@U1>', '&'],
  long: ['a'.repeat(500), '词'.repeat(3000), 'x y '.repeat(2000)],
})

test('whatever the Markdown, Slack takes every piece and nothing visible is lost', () => {
  fc.assert(
    fc.property(markdown, (source) => {
      const document = parseMarkdown(source)
      const pieces = render(message(source, document))
      for (const { text: shown, payload } of pieces) {
        assert.ok(seen(check(payload)) !== '' && shown.length <= MAX_TEXT)
        assert.ok(!JSON.stringify(payload.text).includes('<!channel>'), 'a fallback that mentions everybody')
      }
      const all = pieces.map((piece) => piece.text).join('')
      assertShown(all, document)
      const urls = pieces.flatMap(({ payload }) => urlsOf((payload.blocks as { elements: readonly RichElement[] }[])[0]?.elements ?? []))
      for (const href of linksIn(document))
        assert.ok(urls.includes(href) || seen(all).includes(seen(href.replace(/^mailto:/, ''))), `${href} is lost`)
    }),
    { numRuns: 500 },
  )
})

function urlsOf(elements: readonly RichElement[]): string[] {
  const found: string[] = []
  JSON.stringify(elements, (_, value: { type?: string; url?: string }) => {
    if (value?.type === 'link') found.push(value.url ?? '')
    return value
  })
  return found
}
