import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { crashReport } from './crash.ts'

describe('the report of a crash', () => {
  const words = 'private-words'
  const error = Object.assign(new RangeError(`about ${words}`, { cause: new Error(words) }), { code: 'ERR_X', body: { text: words } })

  it('says what to do, what it was and where, in the language of the reader', () => {
    for (const [language, remedy] of [
      ['en', /start it again/],
      ['zh', /重新启动/],
    ] as const) {
      const report = crashReport(error, language)
      assert.match(report, remedy)
      assert.match(report, /^ {2}RangeError ERR_X$/m)
      assert.match(report, /crash\.test\.ts:\d+/)
    }
  })

  it('repeats nothing that the error holds, whatever was thrown', () => {
    const odd: readonly unknown[] = [
      error,
      words,
      { message: words, name: words, code: words },
      undefined,
      Object.assign(new Error(words), { name: `${words}\n${words}`, code: { words } }),
      Object.assign(new Error('x'), { code: `${words} ` }),
      Object.assign(new Error('x'), { stack: `Error: ${words}\n${words}\n    at ok (file.js:1:1)` }),
    ]
    for (const thrown of odd) assert.doesNotMatch(crashReport(thrown, 'en'), new RegExp(words))
  })
})
