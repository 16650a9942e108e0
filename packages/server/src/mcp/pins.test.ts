import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Declared } from './declared.ts'
import { approve as approvePins, compareWithPins, type McpStore, markOf, pinsOf } from './pins.ts'

function storeOf(): McpStore & { writes: number } {
  const kept = new Map<string, string>()
  const store = {
    writes: 0,
    get: async (account: string, key: string) => kept.get(account + key),
    set: async (account: string, key: string, value: string) => void kept.set(account + key, value),
    async swap(account: string, key: string, before: string | undefined, value: string) {
      store.writes += 1
      if (kept.get(account + key) !== before) return false
      kept.set(account + key, value)
      return true
    },
  }
  return store
}

const tool = (name: string, description = name): Declared => ({ name, description, parameters: {}, harmlessTwice: false })
const approve = async (...args: Parameters<typeof approvePins>) => (await approvePins(...args)).map(([name]) => name)
const compare = async (store: McpStore, tools: readonly Declared[], named?: readonly string[]) => {
  const { active, withheld } = await compareWithPins(store, 's', { tools, refused: [] }, named)
  return [active.map(({ description }) => description), withheld.map(({ tool, problem }) => `${tool} ${problem}`)]
}

describe('what was approved of tools', () => {
  it('the first look approves, and nothing after it does but the owner', async () => {
    const store = storeOf()
    assert.deepEqual(await compare(store, [tool('a'), tool('b')]), [['a', 'b'], []])
    const writes = store.writes
    assert.deepEqual(await compare(store, [tool('a'), tool('b')]), [['a', 'b'], []])
    assert.equal(store.writes, writes, 'what is the same is not written')
    assert.deepEqual(await compare(store, [tool('a', 'evil'), tool('c')]), [[], ['a mcp-tool-changed', 'c mcp-tool-new']])
    assert.deepEqual(await approve(store, 's', ['c']), ['c'])
    assert.deepEqual(await compare(store, [tool('a', 'evil'), tool('c')]), [['c'], ['a mcp-tool-changed']])
    assert.deepEqual(await approve(store, 's', undefined), ['a'])
    assert.deepEqual(await compare(store, [tool('a', 'evil'), tool('c')]), [['evil', 'c'], []])
    assert.deepEqual(await approve(store, 's', undefined), [])
  })

  it('back to what was approved is used again; who goes is remembered', async () => {
    const store = storeOf()
    await compare(store, [tool('a'), tool('b')])
    await compare(store, [tool('a', 'evil')])
    assert.deepEqual(await compare(store, [tool('a'), tool('b', 'evil')]), [['a'], ['b mcp-tool-changed']])
  })

  it('a yes holds for what was looked at, not for what came after', async () => {
    const store = storeOf()
    await compare(store, [tool('a')])
    await compare(store, [tool('a', 'harmless')])
    const mark = markOf(tool('a', 'harmless'))
    await compare(store, [tool('a', 'evil')])
    assert.deepEqual(await approve(store, 's', ['a'], mark), [])
    await compare(store, [tool('a', 'harmless')])
    assert.deepEqual(await approve(store, 's', ['a'], mark), ['a'])
  })

  it('naming a tool approves a new one, never a change', async () => {
    const store = storeOf()
    await compare(store, [tool('a')])
    assert.deepEqual(await compare(store, [tool('a', 'evil'), tool('b')], ['a', 'b']), [['b'], ['a mcp-tool-changed']])
  })

  it('names that come and go fill nothing, and none is special', async () => {
    const store = storeOf()
    await compare(store, [])
    for (let n = 0; n < 50; n++) await compare(store, [tool(`t${n}`)])
    assert.deepEqual(Object.keys((await pinsOf(store, 's')) ?? {}), ['t49'])
    assert.deepEqual(await compare(store, [tool('__proto__'), tool('constructor')]), [
      [],
      ['__proto__ mcp-tool-new', 'constructor mcp-tool-new'],
    ])
    assert.deepEqual(await approve(store, 's', ['__proto__']), ['__proto__'])
    assert.deepEqual(await compare(store, [tool('__proto__')]), [['__proto__'], []])
  })

  it('what another writes at the same time is not lost', async () => {
    const store = storeOf()
    await compare(store, [tool('a')])
    await compare(store, [tool('a'), tool('b'), tool('c')])
    await Promise.all([approve(store, 's', ['b']), approve(store, 's', ['c'])])
    assert.deepEqual(await compare(store, [tool('a'), tool('b'), tool('c')]), [['a', 'b', 'c'], []])
  })
})
