/** What a stranger sends meets the owner's expressions: it reaches nothing but itself, and keeps nobody busy. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { loadExpressions } from './expressions.ts'

const { value, condition, template } = await loadExpressions()
const outcomeOf = (source: string, scope: object) => value(source)(scope as never)

describe('expressions', () => {
  it('reach what came in, and nothing that JavaScript has beside it', () => {
    const body = JSON.parse('{"a":{"b":1},"text":"x","__proto__":{"polluted":true}}') as object
    for (const source of [
      'body.a.constructor',
      'body.a["constructor"]',
      'body.text.constructor',
      'body.a.__proto__',
      'process.env',
      'globalThis',
    ])
      assert.equal(outcomeOf(source, { body }), undefined, source)
    for (const source of ['{{ body.a.constructor }}', '{{ constructor.name }}', '{{ body.text.constructor.name }}'])
      assert.equal(template(source)({ body } as never), '', source)
  })

  // With JavaScript's own patterns each of these takes longer than the universe has.
  const slow = `${'a'.repeat(50_000)}!`
  for (const source of [
    'body.text.matches("(a+)+$")',
    'body.text.matches("(a|aa)+$")',
    'body.text.matches(body.pattern)',
    'body.list.exists(x, x.matches("(a+)+$"))',
    'body.list.map(x, x.matches("(a+)+$"))[0]',
    '(body.list.filter(x, x.matches("(a+)+$")).size() > 0) || [{"k": body.text.matches("(a+)+$")}][0].k',
    '(body.?missing.orValue(body.text)).matches("(a+)+$")',
  ])
    it(`take no longer for a text that was made to keep them busy: ${source}`, () => {
      const body = { text: slow, pattern: '(a+)+$', list: [slow] }
      assert.equal(outcomeOf(source, { body }), false)
    })

  it('match as CEL says: anywhere, in Unicode, case-blind when told', () => {
    const body = { text: 'Say 你好 to /start' }
    for (const [pattern, expected] of [
      ['你.', true],
      ['^Say', true],
      ['start$', true],
      ['^start', false],
      ['(?i)SAY', true],
      ['\\\\p{Han}{2}', true],
    ] as const)
      assert.equal(outcomeOf(`body.text.matches("${pattern}")`, { body }), expected, pattern)
    assert.equal(condition('body.text.matches("Say")')({ body } as never), true)
  })

  it('refuse a pattern that is none, or too long, before anything comes in', () => {
    for (const pattern of ['(', '(?=a)', '(a)\\\\1', 'a{1000}{1000}', 'a'.repeat(1001)])
      assert.throws(() => value(`body.text.matches("${pattern}")`), { code: 'invalid' }, pattern)
  })
})
