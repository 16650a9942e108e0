import assert from 'node:assert/strict'
import { test } from 'node:test'
import { catalog } from '../../catalog.ts'
import { parseConfig } from '../../config/index.ts'
import { type EmailPlan, renderPlan } from './plan.ts'
import type { Prompts } from './prompts.ts'
import { askPlan } from './questions.ts'

/** A person who answers what is asked: the first key that the question holds. */
function person(answers: Readonly<Record<string, string>>): Prompts {
  const answer = (question: string, initial?: string) => {
    const key = Object.keys(answers).find((candidate) => question.includes(candidate))
    const said = key === undefined ? initial : answers[key]
    if (said === undefined) throw new Error(`nobody knows what to answer to: ${question}`)
    return said
  }
  const checked = (question: string, check: ((value: string) => string | undefined) | undefined, initial?: string) => {
    const said = answer(question, initial)
    assert.equal(check?.(said), undefined, question)
    return said
  }
  return {
    begin: () => undefined,
    tell: () => undefined,
    end: () => undefined,
    select: async (question, _, initial) => answer(question, initial) as typeof initial,
    text: async (question, { check, initial }) => checked(question, check, initial),
    secret: async (question, check) => checked(question, check),
    confirm: async () => true,
    working: () => ({ done: () => undefined, failed: () => undefined }),
  }
}

for (const [language, words] of [
  [
    'en',
    {
      'first chat tool': 'email',
      address: 'bot@x.org',
      password: 'env:MAIL',
      'That name': 'mx.x.org',
      'may write': 'Ann@x.org, ben@x.org',
    },
  ],
  ['zh', { 聊天工具: 'email', 邮箱地址: 'bot@x.org', 密码: 'env:MAIL', 该名称: 'mx.x.org', 允许来信: 'Ann@x.org，ben@x.org' }],
] as const) {
  test(`a mailbox is asked for and written down so that it can be read (${language})`, async () => {
    const tried: EmailPlan[] = []
    const plan = await askPlan({
      prompts: person(words),
      given: { language, model: undefined },
      language,
      needsAccount: false,
      tests: true,
      tryModel: async () => assert.fail('no model is tried'),
      tryTelegram: async () => assert.fail('no Telegram is tried'),
      tryEmail: async (email) => {
        tried.push(email)
        return { passed: true, words: { en: 'yes', zh: '是' } }
      },
      speak: () => undefined,
    })
    assert.equal(tried.length, 1)
    const { config, problems } = parseConfig(renderPlan(plan, 'schema.json'), undefined, catalog, { MAIL: 'horse' }, '/tmp')
    assert.deepEqual(problems, [])
    const [account] = config?.accounts ?? []
    assert.deepEqual([...(account?.allowedUsers ?? [])], ['ann@x.org', 'ben@x.org'])
    const { address, password, imap, authserv_id } = (account?.settings ?? {}) as Record<string, unknown>
    assert.deepEqual([address, password, authserv_id], ['bot@x.org', 'horse', 'mx.x.org'])
    assert.equal((imap as { host: string }).host, 'imap.x.org')
  })
}
