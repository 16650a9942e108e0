import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { argumentProblem, schemaProblem, serverArgumentProblem } from './arguments.ts'

const schema = {
  type: 'object',
  properties: {
    name: { type: 'string', minLength: 1, maxLength: 5 },
    colour: { type: 'string', enum: ['red', 'blue'] },
    count: { type: 'integer', minimum: 1, maximum: 9 },
    ratio: { type: 'number' },
    sure: { type: 'boolean' },
    tags: { type: 'array', items: { type: 'string' }, maxItems: 2 },
    at: { type: 'object', properties: { x: { type: 'number' } }, required: ['x'] },
  },
  required: ['name'],
}

describe('arguments of tools', () => {
  for (const [text, problem] of [
    ['{"name":"a","colour":"red","count":9,"ratio":0.5,"sure":false,"tags":["x","y"],"at":{"x":1}}', undefined],
    ['{}', /arguments\.name: missing/],
    ['null', /must be an object/],
    ['[]', /must be an object/],
    ['{"name":1}', /name: must be a string/],
    ['{"name":""}', /at least 1/],
    ['{"name":"abcdef"}', /at most 5/],
    ['{"name":"a","colour":"green"}', /one of red, blue/],
    ['{"name":"a","count":1.5}', /whole number/],
    ['{"name":"a","count":"1"}', /must be a number/],
    ['{"name":"a","count":0}', /at least 1/],
    ['{"name":"a","count":1e999}', /must be a number/],
    ['{"name":"a","sure":"true"}', /true or false/],
    ['{"name":"a","tags":"x"}', /must be an array/],
    ['{"name":"a","tags":["x","y","z"]}', /at most 2/],
    ['{"name":"a","tags":[1]}', /tags\[0\]: must be a string/],
    ['{"name":"a","at":{}}', /at\.x: missing/],
    ['{"name":"a","at":{"x":1,"y":2}}', /no field "y"/],
    ['{"name":"a","other":1}', /no field "other"/],
    ['{"name":"a","__proto__":{"x":1}}', /no field "__proto__"/],
    ['{"name":"a","constructor":1}', /no field "constructor"/],
  ] as const) {
    it(text, () => {
      const found = argumentProblem(schema, JSON.parse(text))
      if (problem === undefined) assert.equal(found, undefined)
      else assert.match(String(found), problem)
    })
  }

  it('understands a schema whole, or refuses it', () => {
    assert.equal(schemaProblem(schema), undefined)
    const object = (properties: object, more: object = {}) => ({ type: 'object', properties, ...more })
    for (const [wrong, problem] of [
      [{ type: 'object' }, /properties: missing/],
      [object({ a: {} }), /type: undefined is not understood/],
      [object({ a: { type: 'constructor' } }), /not understood/],
      [object({ a: { type: 'string', pattern: '^x' } }), /pattern: not understood/],
      [object({ a: { type: 'array' } }), /items: not a schema/],
      [object({}, { required: ['a'] }), /there is no field a/],
      [object({}, { additionalProperties: true }), /always refused/],
    ] as const)
      assert.match(String(schemaProblem(wrong)), problem)
  })

  it('of a schema that somebody else wrote holds what it understands, and leaves the rest', () => {
    const theirs = {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      properties: {
        name: { type: ['string', 'null'], pattern: '^(a+)+$', maxLength: 40 },
        mode: { enum: ['fast', 7, { a: 1 }] },
        kind: { const: 'x' },
        any: { anyOf: [{ type: 'string' }, { $ref: '#/$defs/n' }] },
        list: { type: 'array', items: { type: 'integer', maximum: 9 }, maxItems: 2 },
      },
      required: ['name'],
      additionalProperties: false,
    }
    for (const [value, problem] of [
      [{ name: null, mode: { a: 1 }, kind: 'x', any: { deep: true }, list: [1] }, undefined],
      [{ name: `${'a'.repeat(30)}!` }, undefined],
      [{}, /name: missing/],
      [{ name: 7 }, /name: must be string or null/],
      [{ name: 'a', mode: 'slow' }, /mode: must be one of "fast", 7/],
      [{ name: 'a', kind: 'y' }, /kind: must be one of "x"/],
      [{ name: 'a', list: [1, 2, 3] }, /at most 2/],
      [{ name: 'a', list: [10] }, /list\[0\]: must be at most 9/],
      [{ name: 'a', more: 1 }, /no field "more"/],
    ] as const) {
      const found = serverArgumentProblem(theirs, value)
      if (problem === undefined) assert.equal(found, undefined)
      else assert.match(String(found), problem)
    }
    assert.equal(serverArgumentProblem({ type: 'object' }, { any: 'thing' }), undefined)
    const deep = JSON.parse(`{"a":${'['.repeat(5000)}${']'.repeat(5000)}}`) as object
    assert.match(String(serverArgumentProblem({}, deep)), /deeper than 64/)
  })
})
