import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPosthouseError } from '@posthouse/contract'
import fc from 'fast-check'
import { readXml } from './text.ts'

const invalid = (error: unknown) => isPosthouseError(error) && error.code === 'invalid'

test('reads sections, texts, entities, numbers; what stands deeper is left out', () => {
  const message = readXml(
    '\n<xml>\n<A><![CDATA[a < b & ]]]]><![CDATA[> c]]></A><B>&lt;d&gt; &amp;amp;</B><C>12</C><D/><E></E><F><G>x</G><G>y</G></F></xml>\n',
  )
  assert.deepEqual(
    [...message],
    [
      ['A', 'a < b & ]]> c'],
      ['B', '<d> &amp;'],
      ['C', '12'],
      ['D', ''],
      ['E', ''],
      ['F', ''],
    ],
  )
})

test('everything else is refused', () => {
  for (const text of [
    '',
    'text',
    '<xml>',
    '<xml></yml>',
    '<xml></xml><xml></xml>',
    '<xml></xml>text',
    '<xml>text</xml>',
    '<xml><A>1</A><A>2</A></xml>',
    '<xml a="b"></xml>',
    '<?xml version="1.0"?><xml></xml>',
    '<!DOCTYPE xml><xml></xml>',
    '<xml><!-- a --></xml>',
    '<xml><A>&other;</A></xml>',
    '<xml><A>&#65;</A></xml>',
    '<xml><A>& b</A></xml>',
    '<xml><A><![CDATA[open</A></xml>',
    `<xml>${'<a>'.repeat(20)}${'</a>'.repeat(20)}</xml>`,
    `<xml>${'<a/>'.repeat(3000)}</xml>`,
  ])
    assert.throws(() => readXml(text), invalid, text.slice(0, 60))
})

test('any text in a section is read as it is; no input does worse than be refused', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const section = `<![CDATA[${text.replaceAll(']]>', ']]]]><![CDATA[>')}]]>`
      assert.equal(readXml(`<xml><A>${section}</A></xml>`).get('A'), text.trim())
    }),
  )
  const bits = fc.constantFrom('<', '>', '/', '<xml>', '</xml>', '<A>', '</A>', '<![CDATA[', ']]>', '&', '&lt;', 'a', ' ')
  fc.assert(
    fc.property(fc.array(bits), (parts) => {
      try {
        readXml(parts.join(''))
      } catch (error) {
        assert.ok(invalid(error), String(error))
      }
    }),
  )
})
