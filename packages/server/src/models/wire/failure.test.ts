import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ModelFailure } from '@posthouse/contract'
import { classify, readRefusal, refusalOf, retryAfterOf, toModelError } from './failure.ts'

/** Bodies in the forms that providers document; the words are made up after them. */
const refusals: readonly (readonly [status: number | undefined, body: unknown, kind: ModelFailure])[] = [
  [
    400,
    {
      error: {
        message: "This model's maximum context length is 8192 tokens.",
        type: 'invalid_request_error',
        code: 'context_length_exceeded',
      },
    },
    'too-long',
  ],
  [400, { error: { type: 'invalid_request_error', message: 'prompt is too long: 210000 tokens > 200000 maximum' } }, 'too-long'],
  [400, { error: { code: 400, message: 'the request exceeds the available context size', type: 'exceed_context_size_error' } }, 'too-long'],
  [400, { code: 'InvalidParameter', message: 'Range of input length should be [1, 30720]' }, 'too-long'],
  [413, { error: { type: 'request_too_large', message: 'Request exceeds the maximum size' } }, 'too-long'],
  [429, { error: { message: 'You exceeded your current quota', type: 'insufficient_quota', code: 'insufficient_quota' } }, 'quota'],
  [402, { error: { message: 'Insufficient Balance', type: 'unknown_error', code: 'invalid_request_error' } }, 'quota'],
  [400, { error: { type: 'invalid_request_error', message: 'Your credit balance is too low' } }, 'quota'],
  [400, { code: 'Arrearage', message: 'Access denied' }, 'quota'],
  [429, { error: { message: 'Rate limit reached: Limit 30000 context window tokens', code: 'rate_limit_exceeded' } }, 'rate-limited'],
  [401, { error: { message: 'Incorrect API key provided', code: 'invalid_api_key' } }, 'auth'],
  [403, { error: { message: 'model not found in your country' } }, 'auth'],
  [400, [{ error: { code: 400, message: 'API key not valid. Please pass a valid API key.' } }], 'auth'],
  [404, { error: 'model "qwen" not found, try pulling it first' }, 'not-found'],
  [400, { error: { message: 'Model Not Exist', type: 'invalid_request_error' } }, 'not-found'],
  [302, '', 'not-found'],
  [400, { object: 'error', message: 'temperature must be non-negative', type: 'BadRequestError', code: 400 }, 'invalid'],
  [422, { detail: [{ msg: 'field required' }] }, 'invalid'],
  [408, '', 'timeout'],
  [409, '', 'overloaded'],
  [500, '<html><title>Oops</title></html>', 'overloaded'],
  [529, { error: { type: 'overloaded_error', message: 'Overloaded' } }, 'overloaded'],
  [undefined, { error: { type: 'overloaded_error', message: 'Overloaded' } }, 'overloaded'],
  [undefined, { error: { type: 'rate_limit_error', message: 'slow down' } }, 'rate-limited'],
  [undefined, { error: { type: 'invalid_request_error', message: 'bad image' } }, 'invalid'],
  [undefined, { error: { type: 'timeout_error', message: 'took too long' } }, 'timeout'],
  [undefined, { error: { message: 'Provider returned error', code: 502 } }, 'overloaded'],
]

describe('failure', () => {
  for (const [status, body, kind] of refusals) {
    it(`${status ?? 'in the stream'} ${JSON.stringify(body).slice(0, 70)} is ${kind}`, () => {
      assert.equal(classify(status, typeof body === 'string' ? readRefusal(body) : refusalOf(body)), kind)
    })
  }

  it("keeps the provider's words, bounded and redacted", () => {
    const redact = (text: string) => text.replaceAll('secret', '***')
    const error = toModelError(refusalOf({ error: { message: `key secret ${'x'.repeat(5000)}`, param: 'model' } }), redact, { status: 400 })
    assert.match(error.message, /^status 400, param model: key \*\*\* xxx/)
    assert.ok(error.message.length < 700)
    assert.match(toModelError(readRefusal('<p>Bad   gateway</p>'), redact, { status: 502 }).message, /Bad gateway/)
    assert.match(toModelError(readRefusal(''), redact, { status: 502 }).message, /gave no reason/)
  })

  it('reads waits in every form, and bounds them', () => {
    assert.equal(retryAfterOf({ 'retry-after': '2' }), 2000)
    assert.equal(retryAfterOf({ 'retry-after': '0.25' }), 250)
    assert.equal(retryAfterOf({ 'retry-after-ms': '1500', 'retry-after': '9' }), 1500)
    const date = 'Fri, 20 Nov 2026 10:00:00 GMT'
    assert.equal(retryAfterOf({ 'retry-after': 'Fri, 20 Nov 2026 10:00:30 GMT', date }), 30_000, "by the provider's own clock")
    assert.equal(retryAfterOf({ 'retry-after': 'Fri, 20 Nov 2026 09:00:00 GMT', date }), 0)
    assert.equal(retryAfterOf({ 'retry-after': '999999999' }), 86_400_000)
    for (const nonsense of ['soon', '', '-5']) assert.equal(retryAfterOf({ 'retry-after': nonsense }), undefined, nonsense)
    assert.equal(retryAfterOf({}), undefined)
  })
})
