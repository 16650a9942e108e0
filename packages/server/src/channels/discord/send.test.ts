import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OutboundMessage } from '@posthouse/contract'
import { createDiscordEmulator, readDiscordMarkup } from '@posthouse/testkit'
import fc from 'fast-check'
import { assertShown, hostileMarkdown, linksIn, seen } from '../../../test/documents.ts'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { createFetch } from '../../security/fetch.ts'
import { createApi } from './api.ts'
import { MAX_TEXT, render } from './send.ts'

const message = (text: string, document = parseMarkdown(text)): OutboundMessage => ({
  id: '1',
  to: { room: '1', type: 'direct' },
  text,
  document,
})
const content = (text: string) =>
  render(message(text))
    .map(({ payload }) => payload.content)
    .join('\n---\n')

test('writes each form as Discord reads it', () => {
  assert.equal(content('# A *b*\n\nc **d *e*** ~~f~~ `g<`'), '# A *b*\n\nc **d *e*** ~~f~~ `g<`')
  assert.equal(content('#### four'), '**four**')
  assert.equal(content('```c++\na < b\n```'), '```c++\na < b\n```')
  assert.equal(content('````\n```\n````'), '```\n``\u200b`\n```')
  assert.equal(content('> a\n> > b\n>\n> c'), '> a\n> > b\n> c')
  assert.equal(content('- a\n  - b\n- [x] c\n\n7. d\n8. e'), '- a\n  - b\n- ☑ c\n\n7. d\n8. e')
  assert.equal(content('[a](https://a.example/?x=(1)&y=2)'), '[a](https://a.example/?x=%281%29&y=2)')
  assert.equal(content('![i](https://a.example/i.png)'), '[🖼 i](https://a.example/i.png)')
  assert.equal(content('https://a.example/a_b_c'), '<https://a.example/a_b_c>')
  assert.equal(content('[https://a.example](https://b.example)'), '<https://a.example> (<https://b.example>)')
  assert.equal(content('[mail](mailto:a@b.example)'), 'mail (a@b.example)')
  assert.equal(content('a\n\n---\n\nb'), 'a\n\n──────────\n\nb')
  assert.equal(content('`` a`b ``'), '``a`b``')
})

test('what is no mark does not become one', () => {
  assert.equal(
    content('2 \\* 3 \\* 4, snake_case, a \\~~b\\~~, \\|\\|c\\|\\|'),
    '2 \\* 3 \\* 4, snake\\_case, a \\~\\~b\\~\\~, \\|\\|c\\|\\|',
  )
  assert.equal(content('\\# no\n\\- no\n\\> no\n1\\. no\n\\-# no'), '\\# no\n\\- no\n\\> no\n1\\. no\n\\-# no')
  assert.equal(content('<@1001> <#1> <@&2> <:a:1> <t:1:R> </a:1>'), '<@1001> <#1> <@&2> <:a:1> <t:1:R> </a:1>'.replaceAll('<', '<\u200b'))
  assert.equal(content('a < b > c - d # e 1. f'), 'a < b > c - d # e 1. f')
  assert.equal(content('\\[a\\](x) and arr[0]'), '\\[a](x) and arr\\[0]')
})

test('tables are columns where a phone has room, else lists', () => {
  assert.equal(content('|a|中文|\n|-|-|\n|1|2|'), '```\na │ 中文\n──┼─────\n1 │ 2   \n```')
  const wide = 'x'.repeat(50)
  assert.equal(content(`|a|b|\n|-|-|\n|1|${wide}|`), `- **a**: 1\n  **b**: ${wide}`)
})

test('splits at 2000 units of what is sent', () => {
  assert.equal(render(message('x'.repeat(2000))).length, 1)
  assert.deepEqual(
    render(message('x'.repeat(2001))).map(({ text }) => text.length),
    [2000, 1],
  )
  assert.equal(render(message('*'.repeat(2000).replaceAll('*', '\\*'))).length, 2)
  const pieces = render(message(`before\n\n\`\`\`js\n${'let a = 1\n'.repeat(1000)}\`\`\`\nafter`))
  assert.ok(pieces.length >= 6)
  for (const { payload } of pieces.slice(1, -1)) assert.match(String(payload.content), /^```js\n[^`]+\n```$/)
})

test('hostile inputs take bounded time', () => {
  const inputs = [
    `${'>'.repeat(10_000)} x`,
    `|a|b|\n|-|-|\n${'|x|y|\n'.repeat(20_000)}`,
    'x'.repeat(500_000),
    `\`\`\`\n${'`'.repeat(200_000)}`,
    '*a **b '.repeat(20_000),
    '\\'.repeat(100_000),
    '[](('.repeat(50_000),
  ]
  for (const input of inputs) {
    const started = process.cpuUsage()
    for (const { text } of render(message(input))) assert.ok(text.length <= MAX_TEXT)
    const { user } = process.cpuUsage(started)
    assert.ok(user < 20_000_000, `${input.slice(0, 20)}: ${user / 1e6} s`)
  }
})

// ---- Any Markdown -----------------------------------------------------------------------------------------------------

const markdown = hostileMarkdown({
  own: ['__', '||', '\n-# ', '<@1>', '<#2>', '<:a:1>', '<t:1>', '@everyone', '(', ')', '#', '-', '1.', 'a_b*c'],
  long: ['a'.repeat(300), '词'.repeat(500), 'x y '.repeat(200)],
})

/** In addresses marks are written in another way. */
const bare = (text: string) => text.replace(/%(28|29|2A|3C|3E|5C|60|7C|7E)/g, (code) => decodeURIComponent(code))

test('whatever the Markdown, nothing visible is lost, in order, and nobody is mentioned', () => {
  fc.assert(
    fc.property(markdown, (source) => {
      const document = parseMarkdown(source)
      const pieces = render(message(source, document)).map(({ payload, text }) => {
        assert.ok(text.length <= MAX_TEXT)
        const { text: shown, marks } = readDiscordMarkup(String(payload.content))
        return { text: bare(shown), marks }
      })
      const all = pieces.map(({ text }) => text).join('')
      assertShown(all, document)
      for (const href of linksIn(document)) assert.ok(seen(all).includes(seen(bare(href.replace(/^mailto:/, '')))), `${href} is lost`)
      assert.ok(!pieces.some(({ marks }) => marks.includes('mention') || marks.includes('emoji')))
    }),
    { numRuns: 800 },
  )
})

test('whatever the Markdown, Discord takes every piece', async () => {
  await using emulator = await createDiscordEmulator()
  await using client = createFetch()
  const api = createApi(emulator.url, emulator.token, client.fetch)
  const { id } = emulator.direct('1001')
  await fc.assert(
    fc.asyncProperty(markdown, async (source) => {
      for (const { payload } of render(message(source))) await api.call('POST', `/channels/${id}/messages`, payload)
    }),
    { numRuns: 60 },
  )
})
