import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { verifyWebhook } from './webhook.ts'

const token = (secret: string) => ({ kind: 'token', header: 'X-Secret', secret }) as const

describe('verifyWebhook', () => {
  it('lets the secret pass, and nothing that is like it', () => {
    assert.ok(verifyWebhook(token('right'), { 'x-secret': 'right' }))
    for (const wrong of [
      undefined,
      '',
      'righ',
      'rightt',
      'Right',
      ' right',
      'right, right',
      ['right'],
      ['right', 'right'],
      'x'.repeat(100_000),
    ]) {
      assert.ok(!verifyWebhook(token('right'), { 'x-secret': wrong }), String(wrong).slice(0, 20))
    }
    assert.ok(!verifyWebhook(token('right'), {}))
    assert.ok(!verifyWebhook(token('right'), { 'x-other': 'right' }))
  })

  it('never opens without a secret', () => {
    for (const given of [undefined, '', 'undefined', 'x']) assert.ok(!verifyWebhook(token(''), { 'x-secret': given }))
  })

  it('is not led astray by names of prototypes', () => {
    assert.ok(!verifyWebhook({ kind: 'token', header: 'constructor', secret: 'x' }, {}))
    assert.ok(!verifyWebhook({ kind: 'token', header: '__proto__', secret: 'x' }, {}))
  })
})
