import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ModelEvent, ModelMessage } from '@posthouse/contract'
import { answer } from './answer.ts'
import { demo } from './index.ts'

const user = (text: string): ModelMessage => ({ role: 'user', content: [{ type: 'text', text }] })
const say = (text: string, ...before: readonly ModelMessage[]) => answer({ messages: [...before, user(text)] })
const earlier: readonly ModelMessage[] = [user('hi'), { role: 'assistant', text: 'This is a demo.' }]

describe('demo', () => {
  it('says first that it is a demo, and only once', () => {
    assert.match(say('hello'), /^\*\*This is a demo\./)
    assert.match(say('你好'), /^\*\*这是演示\*\*/)
    assert.doesNotMatch(say('a table please', ...earlier), /This is a demo/)
  })

  it('answers in the language of the question and says a little of it back', () => {
    assert.match(say('what is *this* |?', ...earlier), /You wrote: “what is \\\*this\\\* \\\|\?”/)
    assert.match(say('今天天气怎么样', ...earlier), /你写的是：“今天天气怎么样”/)
    assert.ok(say('x'.repeat(5000), ...earlier).length < 2500)
  })

  it('sees the history', () => {
    assert.match(say('again', ...earlier), /message 2 of yours/)
    assert.match(say('再来', ...earlier), /第 2 条/)
  })

  it('shows Markdown when asked, in both languages', () => {
    assert.match(say('show me a table'), /\| --- \| --- \|/)
    assert.match(say('表格'), /\| --- \| --- \|/)
    assert.match(say('some code'), /```js/)
    assert.match(say('列表'), /\n- /)
  })

  it('tells how to configure each kind of model, by default and when asked', () => {
    for (const text of [say('hello'), say('how do I configure ollama?', ...earlier), say('怎么配置模型？', ...earlier)]) {
      for (const name of ['posthouse.yaml', 'deepseek', 'qwen', '11434', 'api: anthropic', '${env:']) assert.ok(text.includes(name), name)
    }
  })

  it('is long on request, so that stop can be tried', () => {
    assert.ok(say('write something long').length > 4000)
    assert.ok(say('写一篇长文').length > 1500)
  })

  it('names a picture that it cannot see', () => {
    const content = [{ type: 'image' as const, mime: 'image/png', data: new Uint8Array(1) }]
    assert.match(answer({ messages: [{ role: 'user', content }] }), /cannot see pictures/)
  })

  it('streams word by word, and keeps the limit', async () => {
    const host = { id: 'demo', log: { debug() {}, info() {}, warn() {}, error() {} }, fetch: () => Promise.reject(new Error('no network')) }
    const model = demo.create({ pace: 0 }, host)
    const events: ModelEvent[] = []
    for await (const event of model.stream({ messages: [user('hello')], maxTokens: 7 }, new AbortController().signal)) events.push(event)
    assert.deepEqual(
      events.map(({ type }) => type),
      [...Array.from({ length: 7 }, () => 'text'), 'usage', 'end'],
    )
    assert.deepEqual(events.at(-1), { type: 'end', reason: 'length' })
  })
})
