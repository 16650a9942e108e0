import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { type Fetch, FetchError, type FetchResponse } from '@posthouse/contract'
import { ApiError, createApi } from './api.ts'

const TOKEN = '123:SECRET_token'
const answering =
  (status: number, body: string, headers: Record<string, string> = {}): Fetch =>
  async (): Promise<FetchResponse> => ({
    status,
    headers,
    body: (async function* () {
      yield Buffer.from(body)
    })(),
    text: async () => body,
    json: async () => JSON.parse(body) as unknown,
  })

test('the token is in no error, whoever puts it there', async () => {
  const fetches: Fetch[] = [
    async (url) => {
      throw new FetchError('broken', `could not fetch ${url}`, new Error(url))
    },
    async (url) => {
      throw new TypeError(`odd ${url}`)
    },
    answering(404, JSON.stringify({ ok: false, error_code: 404, description: `no bot ${TOKEN}` })),
    answering(502, `<html>/bot${TOKEN}/sendMessage failed</html>`),
    async (url) => ({ ...(await answering(200, '')(url)), text: () => Promise.reject(new FetchError('broken', `${url} broke`)) }),
  ]
  for (const fetch of fetches) {
    const api = createApi('https://api.telegram.org/', TOKEN, fetch)
    for (const call of [
      () => api.call('getMe', {}),
      () => api.upload('sendDocument', 'document', { kind: 'file', name: 'x', size: 0, open: async function* () {} }, {}),
    ]) {
      await assert.rejects(call(), (error: unknown) => {
        assert.ok(error instanceof FetchError || error instanceof ApiError)
        assert.doesNotMatch(inspect(error, { depth: 9 }), /SECRET/)
        return true
      })
    }
    await api.download('a/b').catch((error: unknown) => assert.doesNotMatch(inspect(error, { depth: 9 }), /SECRET/))
  }
})

test('a refusal tells who refused and how long to wait', async () => {
  const refusal = async (fetch: Fetch) => {
    const error: unknown = await createApi('https://x.example', TOKEN, fetch)
      .call('getMe', {})
      .catch((thrown: unknown) => thrown)
    assert.ok(error instanceof ApiError)
    return [error.code, error.fromTelegram, error.retryAfter, error.migratedTo]
  }
  const flood = { ok: false, error_code: 429, description: 'Too Many Requests: retry after 7', parameters: { retry_after: 7 } }
  assert.deepEqual(await refusal(answering(429, JSON.stringify(flood))), [429, true, 7000, undefined])
  assert.deepEqual(await refusal(answering(429, 'slow down', { 'retry-after': '3' })), [429, false, 3000, undefined])
  assert.deepEqual(await refusal(answering(200, 'a portal')), [200, false, undefined, undefined])
  const moved = { ok: false, error_code: 400, description: 'x', parameters: { migrate_to_chat_id: -1001 } }
  assert.deepEqual(await refusal(answering(400, JSON.stringify(moved))), [400, true, undefined, '-1001'])
})

test('a file name ends no header and is no path', async () => {
  let body = ''
  const fetch: Fetch = async (url, options) => {
    for await (const chunk of (options?.body ?? []) as AsyncIterable<Uint8Array>) body += Buffer.from(chunk).toString()
    return answering(200, '{"ok":true,"result":{}}')(url)
  }
  const file = {
    kind: 'file' as const,
    name: '../a"\r\nX-Evil: 1\\报告.txt',
    mime: 'text/plain\r\nX: y',
    size: 2,
    open: async function* () {
      yield Buffer.from('hi')
    },
  }
  await createApi('https://x.example', TOKEN, fetch).upload('sendDocument', 'document', file, {
    chat_id: 1,
    reply_parameters: { message_id: 2 },
  })
  assert.match(body, /filename=".._a___X-Evil: 1_报告.txt"\r\nContent-Type: application\/octet-stream\r\n\r\nhi\r\n--/)
  assert.match(body, /name="reply_parameters"\r\n\r\n\{"message_id":2\}\r\n/)
})
