import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OutboundMessage } from '@posthouse/contract'
import { createWecomEmulator } from '@posthouse/testkit'
import fc from 'fast-check'
import { parseMarkdown } from '../../pipeline/markdown.ts'
import { createFetch } from '../../security/fetch.ts'
import { ApiError, createApi } from './api.ts'
import { MAX_TEXT, render, send, toDeliveryError } from './send.ts'
import type { WecomSettings } from './settings.ts'

type Mode = WecomSettings['mode']
const message = (text: string): OutboundMessage => ({ id: '1', to: { room: 'ann', type: 'direct' }, text, document: parseMarkdown(text) })
const written = (text: string, mode: Mode = 'app') => render(message(text), mode).map(({ payload }) => payload.content)

test('apps and robots are written the few forms that they know', () => {
  assert.deepEqual(written('# A *b*\n\nc **d** ~~f~~ `g`'), ['# A b\n\nc **d** f `g`'])
  assert.deepEqual(written('> a\n> > b'), ['> a\n> > b'])
  assert.deepEqual(written('- a\n- [x] b\n\n7. c'), ['• a\n• ☑ b\n\n7. c'])
  assert.deepEqual(written('[a](https://a.example/?x=1) [b](./b.md)'), ['[a](https://a.example/?x=1) b (./b.md)'])
  assert.deepEqual(written('```py\n# not a heading\nx ** y\n```'), ['\u200b# not a heading\nx *\u200b* y'])
  assert.deepEqual(written('\\> no quote, <font color="info">no colour</font>, <@all>'), [
    '\u200b> no quote, <\u200bfont color="info">no colour<\u200b/font>, <\u200b@all>',
  ])
})

test('bots are written Markdown', () => {
  const bot = (text: string) => written(text, 'bot')
  assert.deepEqual(bot('# A\n\n**b** *c* ~~d~~ `e`\n\n```ts\nf < g\n```'), ['# A\n\n**b** *c* ~~d~~ `e`\n\n```ts\nf < g\n```'])
  assert.deepEqual(bot('snake_case 2 * 3 \\*no\\* \\# no'), ['snake\\_case 2 * 3 \\*no\\* # no'])
  assert.deepEqual(bot('<at id=all> `` a`b ``'), ['\\<at id=all> ``a`b``'])
})

test('a long answer is several messages, only the first of which answers a bot’s question', () => {
  const text = Array.from({ length: 9000 }, (_, index) => `词${index}`).join(' ')
  for (const mode of ['app', 'bot', 'robot'] as const) {
    const pieces = render({ ...message(text), replyTo: 'q' }, mode)
    assert.ok(pieces.length > 2)
    for (const { payload } of pieces) assert.ok(Buffer.byteLength(String(payload.content)) <= MAX_TEXT[mode])
    assert.ok(pieces.map(({ text: part }) => part.trim()).join(' ') === text, 'nothing is lost')
    assert.deepEqual(
      pieces.flatMap(({ payload }) => ('reply_to' in payload ? [payload.reply_to] : [])),
      mode === 'bot' ? ['q'] : [],
    )
  }
})

test('whatever is rendered is accepted, and no word of it is lost', async () => {
  await using emulator = await createWecomEmulator()
  await using client = createFetch()
  const { corp_id, secret, agent_id, key, url } = emulator
  emulator.know('ann')
  const forms = fc.constantFrom(
    '# ',
    '> ',
    '- ',
    '1. ',
    '**',
    '*',
    '_',
    '`',
    '```\n',
    '~~',
    '[a](b)',
    '|',
    '\n',
    '\n\n',
    '<font>',
    '\\',
    '@all',
    '&',
  )
  const markdown = fc.array(
    fc.oneof(
      forms,
      fc.string({ unit: 'grapheme' }),
      fc.nat().map((n) => ` w${n} `),
    ),
    { maxLength: 60 },
  )
  for (const mode of ['app', 'robot'] as const) {
    const settings: WecomSettings = { mode, corp_id, secret, agent_id, key, base_url: url, ws_url: '' }
    const api = createApi(url, mode === 'app' ? { corp_id, secret } : undefined, client.fetch, Date.now)
    const desk = { settings, api, asking: undefined, questions: new Map<string, string>() }
    await fc.assert(
      fc.asyncProperty(markdown, async (parts) => {
        const before = emulator.posted().length
        const pieces = render(message(parts.join('')), mode)
        for (const piece of pieces)
          await send(desk, piece, { room: 'ann', type: 'direct' }, { idempotencyKey: 'k', signal: new AbortController().signal })
        const shown = emulator.posted().slice(before)
        const words = (texts: readonly string[]) => texts.join('\n').match(/\bw\d+\b/g) ?? []
        assert.deepEqual(words(shown.map(({ text }) => text)), words(pieces.map(({ text }) => text)))
      }),
      { numRuns: 60 },
    )
  }
})

test('codes of the platform mean what its page says', () => {
  const kinds = [
    [45009, 'rate-limited'],
    [42001, 'auth'],
    [40001, 'auth'],
    [93000, 'auth'],
    [853000, 'auth'],
    [60020, 'permission'],
    [81013, 'permission'],
    [60111, 'not-found'],
    [846605, 'not-found'],
    [846608, 'not-found'],
    [-1, 'transient'],
    [40058, 'invalid'],
    [999999, 'invalid'],
  ] as const
  for (const [code, kind] of kinds) assert.equal(toDeliveryError(new ApiError(code, 200, 'x')).kind, kind, String(code))
  const between = [
    [200, 'unknown'],
    [404, 'transient'],
    [413, 'invalid'],
    [429, 'rate-limited'],
    [500, 'unknown'],
    [503, 'transient'],
    [504, 'unknown'],
  ] as const
  for (const [status, kind] of between) assert.equal(toDeliveryError(new ApiError(0, status, 'x')).kind, kind, String(status))
})
