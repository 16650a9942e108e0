import assert from 'node:assert/strict'
import { test } from 'node:test'
import { orderedJson } from './ordered-json.ts'

test('equal values are equal texts', () => {
  assert.equal(orderedJson(JSON.parse('{"b":[{"d":1,"c":"x"}],"a":null}')), '{"a":null,"b":[{"c":"x","d":1}]}')
})
