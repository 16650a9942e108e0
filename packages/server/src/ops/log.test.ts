import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { describe, it } from 'node:test'
import { ModelError, PosthouseError } from '@posthouse/contract'
import { createLogger } from './log.ts'

/** What a logger writes. */
function written(work: (log: ReturnType<typeof createLogger>) => void, options: object = {}): string {
  let text = ''
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString()
      done()
    },
  })
  work(createLogger({ debug: true, terminal: undefined, stream, ...options }))
  return text
}

/** As a library would have made it. */
const elsewhere = (error: Error) => Object.assign(error, { stack: `${error}\n    at work (file:///library/index.js:1:1)` })

const thrownBy = (work: () => unknown): unknown => {
  try {
    return work()
  } catch (error) {
    return error
  }
}

describe('a log', () => {
  it('says what an error is, and where, without what others wrote', () => {
    const words = 'private-words'
    const errors = [
      thrownBy(() => JSON.parse(`{"a":"${words}`)),
      thrownBy(() => JSON.parse(`${words} {"b": '${words}'}`)),
      thrownBy(() => new Intl.DateTimeFormat('en', { timeZone: words })),
      thrownBy(() => Buffer.alloc(1, 'x', words as 'utf8')),
      thrownBy(() => decodeURIComponent(`%${words}`)),
      thrownBy(() => new URL(words)),
      new Error(`a "${words}" and \`${words}\``),
      new Error(`outer: ${words}`, { cause: new TypeError(`inner: ${words}`, { cause: new SyntaxError(words) }) }),
      Object.assign(new Error('with fields'), { input: words, body: { text: words } }),
      elsewhere(new Error(words, { cause: elsewhere(new Error(words)) })),
      Object.assign(new TypeError(words), { stack: undefined }),
    ]
    for (const error of errors) {
      assert.ok(error instanceof Error)
      for (const terminal of [undefined, 'plain'] as const) {
        const text = written((log) => log.error({ err: error }, 'it failed'), { terminal })
        assert.match(text, /it failed/)
        assert.doesNotMatch(text, new RegExp(words), String(error))
      }
      if (error.stack)
        assert.match(
          written((log) => log.error({ err: error }, 'it failed')),
          /\.[tj]s:\d+/,
        )
    }
  })

  it('keeps the words of our own errors, and of the system', () => {
    const system = thrownBy(() => process.chdir('/no/such/folder'))
    const text = written((log) => {
      log.error({ err: new PosthouseError('invalid', 'title: "x" is missing') }, 'a')
      log.error({ err: new ModelError('overloaded', 'main: status 503: busy') }, 'b')
      log.error({ err: system }, 'c')
    })
    assert.match(text, /title: \\"x\\" is missing/)
    assert.match(text, /main: status 503: busy/)
    assert.match(text, /ENOENT: no such file or directory/)
  })

  it('shows no secret, by the name of its field or by its value, however it got there', () => {
    const secrets = ['my-secret-value', 'with"quotes\\and\nlines']
    const text = written(
      (log) => {
        log.info({ api_key: 'x-by-name', headers: { Authorization: 'x-by-name', 'set-cookie': ['x-by-name'] } }, 'fields')
        for (const secret of secrets) {
          log.debug({ url: `http://h/bot${secret}/x`, deep: [{ text: secret }] }, `words ${secret}`)
          log.child({ account: secret }).warn({ err: new ModelError('auth', `key ${secret} refused`) }, 'child')
        }
      },
      { secrets: () => secrets },
    )
    assert.equal(text.trim().split('\n').length, 5)
    for (const hidden of ['x-by-name', 'my-secret-value', 'with\\"quotes', 'quotes']) assert.ok(!text.includes(hidden), hidden)
    for (const line of text.trim().split('\n')) assert.ok(JSON.parse(line))
  })

  it('lets no control character of others reach a terminal', () => {
    const text = written((log) => log.warn({ name: 'a\u001b[2Jb\rc\nd' }, 'words\u001b[31m\nmore'), { terminal: 'plain' })
    assert.doesNotMatch(text.trimEnd(), /\p{Cc}/u)
  })
})
