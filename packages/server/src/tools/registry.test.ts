import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Logger, Tool } from '@posthouse/contract'
import { type Clock, systemClock } from '../base/clock.ts'
import type { CheckedCall } from '../ports/tools.ts'
import { builtInTools, createTools } from './index.ts'

const log: Logger = { debug() {}, info() {}, warn() {}, error() {} }

function tool(change: Partial<Tool> = {}): Tool {
  return {
    name: 'book',
    description: '',
    parameters: { type: 'object', properties: { what: { type: 'string' } } },
    idempotent: false,
    run: async ({ what }, { callId }) => `${what} as ${callId}`,
    ...change,
  }
}

/** A clock whose sleeps end when `expire` is called. */
function stoppedClock(): Clock & { expire(): void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  return {
    ...systemClock,
    expire: () => resolve(),
    sleep: (_, signal) => Promise.race([promise, new Promise<void>((done) => signal?.addEventListener('abort', () => done()))]),
  }
}

function checked(one: Tool, text = '{}', clock: Clock = systemClock): CheckedCall {
  const call = createTools([one], { clock, log }).check({ id: 'c', name: one.name, arguments: text })
  assert.ok(typeof call !== 'string', String(call))
  return call
}
const never = new AbortController().signal

describe('the registry of tools', () => {
  it('runs a call with its arguments and the id of the gateway', async () => {
    assert.deepEqual(await checked(tool(), '{"what":"train"}').run('id-1', never), { state: 'done', text: 'train as id-1' })
  })

  it('refuses what it cannot run, with words for the model', () => {
    const tools = createTools([tool()], { clock: systemClock, log })
    const check = (name: string, text: string) => tools.check({ id: 'c', name, arguments: text })
    assert.match(String(check('cook', '{}')), /no tool of this name; there are: book/)
    assert.match(String(check('constructor', '{}')), /no tool of this name/)
    assert.match(String(check('book', '{"what":')), /not valid JSON/)
    assert.match(String(check('book', '{"what":1}')), /must be a string/)
    assert.match(String(check('book', JSON.stringify({ what: 'x'.repeat(100_000) }))), /longer than 65536/)
  })

  it('refuses to register what it could not hold', () => {
    const parts = { clock: systemClock, log }
    assert.throws(() => createTools([tool(), tool()], parts), /two tools/)
    assert.throws(() => createTools([tool({ name: 'a b' })], parts), /no name/)
    assert.throws(() => createTools([tool({ parameters: { type: 'string' } })], parts), /must be "object"/)
    assert.throws(() => createTools([tool({ parameters: { type: 'object', properties: {}, oneOf: [] } })], parts), /oneOf/)
  })

  it('cuts long results, also in the middle of a character', async () => {
    const { text } = await checked(tool({ run: async () => `x${'😀'.repeat(40_000)}` })).run('id', never)
    assert.ok(text.length < 66_000 && text.isWellFormed() && text.includes('[cut: '))
  })

  it('a tool that throws has failed', async () => {
    const failing = tool({
      run: () => {
        throw new Error('no seats')
      },
    })
    assert.deepEqual(await checked(failing).run('id', never), { state: 'failed', text: 'Error: no seats' })
    const dumb = tool({ run: async () => undefined as unknown as string })
    assert.equal((await checked(dumb).run('id', never)).state, 'failed')
  })

  it('the time is limited, also for a tool that does not listen', async () => {
    const clock = stoppedClock()
    let told = false
    const slow = tool({
      run: (_, { signal }) =>
        new Promise(() => {
          signal.addEventListener('abort', () => {
            told = true
          })
        }),
    })
    const running = checked(slow, '{}', clock).run('id', never)
    clock.expire()
    assert.deepEqual(await running, { state: 'unknown', text: 'Error: the call did not end within 30 s' })
    assert.ok(told)
  })

  it('stop fires the signal; what was done by then is unknown', async () => {
    const stop = new AbortController()
    const patient = tool({
      run: (_, { signal }) => new Promise((_done, fail) => signal.addEventListener('abort', () => fail(signal.reason))),
    })
    const running = checked(patient).run('id', stop.signal)
    stop.abort('stop')
    assert.equal((await running).state, 'unknown')
  })
})

describe('current_time', () => {
  const [clockTool] = builtInTools(() => Date.UTC(2026, 1, 2, 20, 4, 5))
  assert.ok(clockTool)
  const ask = (text: string) => checked(clockTool, text).run('id', never)

  it('says the time in a zone', async () => {
    assert.equal((await ask('{"time_zone":"Asia/Shanghai"}')).text, '2026-02-03T04:04:05+08:00 (Tuesday, Asia/Shanghai)')
    assert.equal((await ask('{"time_zone":"UTC"}')).text, '2026-02-02T20:04:05+00:00 (Monday, UTC)')
    assert.match((await ask('{}')).text, /^2026-02-0[23]T\d\d:\d\d:05[+-]\d\d:\d\d \(/)
  })

  it('says when there is no such zone', async () => {
    const { state, text } = await ask('{"time_zone":"Moon/Crater"}')
    assert.equal(state, 'failed')
    assert.match(text, /no time zone "Moon\/Crater"/)
  })
})
