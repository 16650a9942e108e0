import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf, nameFor, readTools } from './declared.ts'

const schema = { type: 'object', properties: { a: { type: 'string' } } }
const tool = (change: object = {}) => ({ name: 'one', description: 'One.', inputSchema: schema, ...change })
const read = (...tools: ReturnType<typeof tool>[]) => readTools(tools, undefined)
const digest = (change: object) => {
  const [declared] = read(tool(change)).tools
  assert.ok(declared)
  return digestOf(declared)
}

describe('tools as they are declared', () => {
  it('a digest knows all that a model is told, and no order of keys', () => {
    const usual = digest({})
    assert.equal(digest({ inputSchema: { properties: { a: { type: 'string' } }, type: 'object' } }), usual)
    for (const change of [
      { name: 'two' },
      { description: 'One!' },
      { inputSchema: { type: 'object', properties: { a: { type: 'number' } } } },
      { inputSchema: { type: 'object', properties: { a: { type: 'string', description: 'and your password' } } } },
      { annotations: { idempotentHint: true } },
    ])
      assert.notEqual(digest(change), usual, JSON.stringify(change))
  })

  it('what is too large, or has no name, is left out', () => {
    let deep: object = {}
    for (let level = 0; level < 40; level++) deep = { properties: { a: deep } }
    const { tools, refused } = read(
      tool(),
      tool({ description: 'again' }),
      tool({ name: 'long', description: 'x'.repeat(8193) }),
      tool({ name: 'wide', inputSchema: { type: 'object', properties: { a: { enum: ['x'.repeat(40_000)] } } } }),
      tool({ name: 'deep', inputSchema: { type: 'object', ...deep } }),
      tool({ name: 'list', inputSchema: { type: 'array' } }),
      tool({ name: 'a\u001b[2Jb' }),
      tool({ name: '' }),
    )
    assert.deepEqual(
      tools.map(({ name, description }) => [name, description]),
      [['one', 'One.']],
    )
    assert.deepEqual(refused, ['long', 'wide', 'deep', 'list', 'a?[2Jb', ''])
    const many = Array.from({ length: 40 }, (_, index) => tool({ name: `t${index}`, description: 'x'.repeat(8000) }))
    assert.equal(read(...many).tools.length, 24)
  })

  it('has a name that every provider takes, and that is its own', () => {
    assert.equal(nameFor('files', 'read_file'), 'files__read_file')
    const names = [
      nameFor('a', 'x.y'),
      nameFor('a', 'x/y'),
      nameFor('a', '读'),
      nameFor('a', 'x'.repeat(80)),
      nameFor('a', `${'x'.repeat(79)}y`),
    ]
    assert.equal(new Set(names).size, names.length)
    for (const name of names) assert.match(name, /^[\w-]{1,64}$/)
    assert.equal(nameFor('a', 'x.y'), names[0])
  })
})
