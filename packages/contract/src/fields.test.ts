import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  decodeUtf8,
  fieldsOf,
  isPosthouseError,
  keepNewest,
  listIn,
  parseJson,
  parseKept,
  parseObject,
  required,
  systemClock,
  textIn,
} from './index.ts'

const isInvalid = (error: unknown) => isPosthouseError(error) && error.code === 'invalid'
const odd = [undefined, null, 0, true, Number.NaN, () => 0]

test('a field is what it should be, or nothing', () => {
  assert.deepEqual(fieldsOf({ a: 1 }), { a: 1 })
  for (const value of [...odd, 'x', ['x']]) assert.deepEqual(fieldsOf(value), {})
  assert.equal(textIn('x'), 'x')
  for (const value of [...odd, {}, ['x']]) assert.equal(textIn(value), '')
  assert.deepEqual(listIn(['x']), ['x'])
  for (const value of [...odd, 'x', { length: 1, 0: 'x' }]) assert.deepEqual(listIn(value), [])
})

test('what must be there is there, and no longer than allowed', () => {
  assert.equal(required('x'.repeat(256), 'id'), 'x'.repeat(256))
  assert.equal(required('x'.repeat(300), 'id', 300), 'x'.repeat(300))
  for (const value of [...odd, '', {}, 'x'.repeat(257)]) assert.throws(() => required(value, 'id'), isInvalid)
})

test('JSON and UTF-8 of others are invalid or right; what we wrote ourselves may be damaged', () => {
  assert.deepEqual(parseJson('{"a":["ü"]}'), { a: ['ü'] })
  assert.deepEqual(parseJson(new TextEncoder().encode('"馬"')), '馬')
  for (const bad of ['', '{', new Uint8Array([0x22, 0xff, 0x22])]) assert.throws(() => parseJson(bad), isInvalid)
  assert.throws(() => decodeUtf8(new Uint8Array([0xc3])), isInvalid)
  assert.deepEqual(['{"a":1}', '<html>', '"x"', 'null', '[]'].map(parseObject), [{ a: 1 }, undefined, undefined, undefined, undefined])
  assert.deepEqual([parseKept('[1]'), parseKept('['), parseKept(undefined)], [[1], undefined, undefined])
})

test('the newest are kept, and what is used again is new', () => {
  const map = new Map<string, number>()
  for (const key of ['a', 'b', 'a', 'c']) keepNewest(map, key, map.size, 2)
  assert.deepEqual([...map.keys()], ['a', 'c'])
})

test('a wait ends with its signal, whenever that fires', async () => {
  const day = 86_400_000
  const abort = new AbortController()
  const waits = systemClock.wait(day, abort.signal)
  abort.abort()
  await waits
  await systemClock.wait(day, abort.signal)
  await systemClock.wait(1, new AbortController().signal)
})
