import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { describe, it } from 'node:test'
import type { WebhookVerification, Where } from '@posthouse/contract'
import { mayBePlatform, verifyWebhook } from './webhook.ts'

const secret = 'a-secret_of-the platform'
const body = Buffer.from('{"text":"héllo, 世界"}')
const seconds = '1700000000'
const now = 1_700_000_000_000
const window = 300_000

interface Vector {
  readonly name: string
  readonly verification: Exclude<WebhookVerification, { kind: 'token' | 'field' | 'loopback' }>
  readonly headers: Readonly<Record<string, string>>
}

const hmac = { kind: 'hmac', at: { header: 'X-Signature' }, secret } as const

/** Signatures made by openssl: `openssl dgst -sha256 -hmac SECRET`, `openssl pkeyutl -sign -rawin` over the parts put together. */
const vectors: readonly Vector[] = [
  {
    name: 'HMAC-SHA1, hexadecimal, as older webhooks have it',
    verification: { ...hmac, algorithm: 'sha1', encoding: 'hex', prefix: 'sha1=' },
    headers: { 'x-signature': 'sha1=0d544a38b89e1a8fd51f26a2b0d382b3ef8a586e' },
  },
  {
    name: 'HMAC-SHA1, base64',
    verification: { ...hmac, algorithm: 'sha1', encoding: 'base64' },
    headers: { 'x-signature': 'DVRKOLieGo/VHyaisNOCs++KWG4=' },
  },
  {
    name: 'HMAC-SHA256, hexadecimal with a prefix, as WhatsApp',
    verification: { ...hmac, algorithm: 'sha256', encoding: 'hex', prefix: 'sha256=' },
    headers: { 'x-signature': 'sha256=74d7b318cd43c0da7623ed88948773190de514cd4dea9942cd410ffb3f99c025' },
  },
  {
    name: 'HMAC-SHA256, base64, as LINE',
    verification: { ...hmac, algorithm: 'sha256', encoding: 'base64' },
    headers: { 'x-signature': 'dNezGM1DwNp2I+2IlIdzGQ3lFM1N6plCzUEP+z+ZwCU=' },
  },
  {
    name: 'HMAC-SHA512, hexadecimal',
    verification: { ...hmac, algorithm: 'sha512', encoding: 'hex' },
    headers: {
      'x-signature':
        '3c60507b3f96d5bb050f84a2d29f2ca4a01e97bd62a3e748ab6f3b3352495c879c09a9cd82a41668ffbcdeb0486c6ed46f575e578608fa2fd1e6a499caa27880',
    },
  },
  {
    name: 'HMAC-SHA512, base64',
    verification: { ...hmac, algorithm: 'sha512', encoding: 'base64' },
    headers: { 'x-signature': 'PGBQez+W1bsFD4Si0p8spKAel71io+dIq287M1JJXIecCanNgqQWaP+83rBIbG7Ub1deV4YI+i/R5qSZyqJ4gA==' },
  },
  {
    name: 'a time and a version before the body, as Slack',
    verification: {
      ...hmac,
      algorithm: 'sha256',
      encoding: 'hex',
      prefix: 'v0=',
      signed: [{ text: 'v0:' }, { header: 'X-Time' }, { text: ':' }, 'body'],
      time: { at: { header: 'X-Time' }, unit: 's', window },
    },
    headers: { 'x-signature': 'v0=28d86f7b0e57bc00c7ce91f7c013ef4bf193806954cf2bec1147809728eed011', 'x-time': seconds },
  },
  {
    name: 'a secret in base64 and a word before the signature, as Teams',
    verification: {
      kind: 'hmac',
      at: { header: 'Authorization' },
      secret: 'AAH+/zAxMjM0NTY3ODlhYmNkZWZnaGlqa2xtbm9w',
      secretEncoding: 'base64',
      algorithm: 'sha256',
      encoding: 'base64',
      prefix: 'HMAC ',
    },
    headers: { authorization: 'HMAC aO0ebiwqcxNDl4OYv3k2YjnkbT3VglNo2jyBMcdEjOM=' },
  },
  {
    name: 'a time in milliseconds and the secret itself, as DingTalk',
    verification: {
      ...hmac,
      algorithm: 'sha256',
      encoding: 'base64',
      signed: [{ header: 'timestamp' }, { text: '\n' }, 'secret'],
      time: { at: { header: 'timestamp' }, unit: 'ms', window },
    },
    headers: { 'x-signature': 'k3Vo/fcNsPDq9Vz8aBVD96XhDtwptTM6ZqivJ0u2MGU=', timestamp: '1700000000000' },
  },
  {
    name: 'a plain digest with the secret within, as Feishu',
    verification: {
      kind: 'digest',
      at: { header: 'X-Signature' },
      secret,
      algorithm: 'sha256',
      encoding: 'hex',
      signed: [{ header: 'X-Time' }, { header: 'X-Nonce' }, 'secret', 'body'],
      time: { at: { header: 'X-Time' }, unit: 's', window },
    },
    headers: {
      'x-signature': '42d8c7a9395b5dcac9d18193a0b3e30e8a067527aed073f73d40515f3ec422e4',
      'x-time': seconds,
      'x-nonce': 'nonce7',
    },
  },
  {
    name: 'Ed25519, hexadecimal, as Discord',
    verification: {
      kind: 'ed25519',
      at: { header: 'X-Signature' },
      publicKey: 'f9203156a02144193e5e9b32ac96041be0d782c0d042a85bca018040bd3cf501',
      encoding: 'hex',
      signed: [{ header: 'X-Time' }, 'body'],
      time: { at: { header: 'X-Time' }, unit: 's', window },
    },
    headers: {
      'x-signature':
        'cf229260280e4b4360e33aa853ff1a0ef2ce874750ea946da69fceb0959443c633f39a609c93ff4895b033dd2f8359e4bf98d9f51d5ac72e9b707c8708b08401',
      'x-time': seconds,
    },
  },
  {
    name: 'Ed25519, base64',
    verification: {
      kind: 'ed25519',
      at: { header: 'X-Signature' },
      publicKey: 'F9203156A02144193E5E9B32AC96041BE0D782C0D042A85BCA018040BD3CF501',
      encoding: 'base64',
      signed: [{ header: 'X-Time' }, 'body'],
    },
    headers: {
      'x-signature': 'zyKSYCgOS0Ng4zqoU/8aDvLOh0dQ6pRtpp/OsJWUQ8Yz85pgnJP/SJWwM90vg1nkv5jZ9R1axy6bcHyHCLCEAQ==',
      'x-time': seconds,
    },
  },
]

const headerOf = (where: Where) => ('header' in where ? where.header.toLowerCase() : '')

/** Other ways to write a signature, and other signatures. */
function forgeries(header: string, prefix: string): readonly (string | string[] | undefined)[] {
  const text = header.slice(prefix.length)
  const last = text.at(-1) === '=' ? text.search(/.=+$/) : text.length - 1
  const changed = `${text.slice(0, last)}${text[last] === 'A' ? 'B' : 'A'}${text.slice(last + 1)}`
  return [
    undefined,
    '',
    prefix,
    [header],
    `${header}, ${header}`,
    ` ${header}`,
    `${header} `,
    `${header}=`,
    header.slice(0, -1),
    `${header}00`,
    `${prefix}${changed === text.toUpperCase() ? `0${text.slice(1)}` : changed}`,
    `${prefix}${'0'.repeat(text.length)}`,
    `${prefix}${text.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')}`,
    `${prefix}${'x'.repeat(text.length)}`,
    ...(prefix ? [text, `${prefix.toUpperCase()}${text}`, `x${prefix}${text}`] : []),
  ].filter((forged) => forged !== header)
}

describe('a signature', () => {
  for (const { name, verification, headers } of vectors) {
    it(`of ${name} passes, and nothing that is like it`, () => {
      const passes = (changed: object = {}, bytes = body, at = now) => {
        const call = { headers: { ...headers, ...changed }, body: bytes }
        return verifyWebhook(verification, call, at) && mayBePlatform(verification, call, at)
      }
      assert.ok(passes())
      const header = headerOf(verification.at)
      for (const forged of forgeries(headers[header] ?? '', verification.prefix ?? ''))
        assert.ok(!passes({ [header]: forged }), JSON.stringify(forged))
      const signsBody = verification.signed?.includes('body') ?? true
      if (signsBody) {
        for (const other of [Buffer.alloc(0), Buffer.from(`${body} `), Buffer.from(body.toString().replace('llo', 'LLO'))])
          assert.ok(!passes({}, other))
      }
      // The secret must be the one.
      for (const other of ['', 'other', `${secret} `]) {
        const keyed: WebhookVerification =
          verification.kind === 'ed25519' ? { ...verification, publicKey: other } : { ...verification, secret: other }
        assert.ok(!verifyWebhook(keyed, { headers, body }, now), other)
      }
    })
  }

  it('made without a secret never passes', () => {
    for (const kind of ['hmac', 'digest'] as const) {
      const signature = (kind === 'hmac' ? createHmac('sha256', '') : createHash('sha256')).update(body).digest('hex')
      const open: WebhookVerification = { kind, at: { header: 'x-signature' }, secret: '', algorithm: 'sha256', encoding: 'hex' }
      assert.ok(!verifyWebhook(open, { headers: { 'x-signature': signature }, body }, now), kind)
    }
  })

  it('over a cookie is bound to the browser that has it', () => {
    const verification: WebhookVerification = {
      ...hmac,
      method: 'GET',
      algorithm: 'sha256',
      at: { query: 'state' },
      encoding: 'hex',
      signed: [{ text: 'begun:' }, { cookie: 'begun' }],
      time: { at: { cookie: 'begun' }, unit: 's', window },
    }
    const state = createHmac('sha256', secret).update(`begun:${seconds}`).digest('hex')
    const passes = (cookie: string | string[] | undefined, query: object = { state }) => {
      const call = { method: 'GET' as const, headers: { cookie }, query: { ...query }, body: Buffer.alloc(0) }
      return verifyWebhook(verification, call, now) && mayBePlatform(verification, call, now)
    }
    assert.ok(passes(`begun=${seconds}`))
    assert.ok(passes(`session=x; begun=${seconds}; theme=dark`))
    for (const cookie of [
      undefined,
      '',
      'begun=',
      'begun',
      `Begun=${seconds}`,
      `xbegun=${seconds}`,
      `begun=${seconds}; begun=${seconds}`,
      `begun="${seconds}"`,
    ])
      assert.ok(!passes(cookie), String(cookie))
    assert.ok(!passes(`begun=${Number(seconds) + 1}`))
    assert.ok(!passes([`begun=${seconds}`]))
    assert.ok(!passes(`begun=${seconds}`, {}))
    assert.ok(!passes(`begun=${seconds}`, { state: state.replace(/^./, (digit) => (digit === '0' ? '1' : '0')) }))
  })

  it('is only good for its time', () => {
    for (const { name, verification, headers } of vectors) {
      if (!verification.time) continue
      const header = headerOf(verification.time.at)
      const check = (at: number, changed: object = {}) => {
        const call = { headers: { ...headers, ...changed }, body }
        const may = mayBePlatform(verification, call, at)
        const is = verifyWebhook(verification, call, at)
        assert.ok(may || !is, name)
        return [may, is]
      }
      for (const near of [-window, 0, window]) assert.deepEqual(check(now + near), [true, true], name)
      for (const far of [-window - 1, window + 1, 86_400_000]) assert.deepEqual(check(now + far), [false, false], name)
      // Another time is another message, and no time is none.
      assert.deepEqual(check(now, { [header]: verification.time.unit === 's' ? '1700000001' : '1700000000001' }), [true, false])
      for (const wrong of [undefined, '', 'now', '-1', '1e9', '17000000000000000', ' 1700000000', [seconds]])
        assert.deepEqual(check(now, { [header]: wrong }), [false, false], `${name} ${wrong}`)
    }
  })

  it('is refused by its headers alone where they tell enough', () => {
    for (const { name, verification, headers } of vectors) {
      const header = headerOf(verification.at)
      for (const wrong of [undefined, '', 'x'.repeat(8000)])
        assert.ok(!mayBePlatform(verification, { headers: { ...headers, [header]: wrong } }, now), name)
    }
  })
})

describe('a token', () => {
  const token = (text: string, header = 'X-Secret') => ({ kind: 'token', at: { header }, secret: text }) as const
  const passes = (verification: WebhookVerification, headers: Record<string, string | string[] | undefined>) => {
    const is = verifyWebhook(verification, { headers, body: Buffer.alloc(0) }, now)
    assert.equal(mayBePlatform(verification, { headers }, now), is)
    return is
  }

  it('passes, and nothing that is like it', () => {
    assert.ok(passes(token('right'), { 'x-secret': 'right' }))
    const wrong = [undefined, '', 'righ', 'rightt', 'Right', ' right', 'right, right', ['right'], ['right', 'right'], 'x'.repeat(100_000)]
    for (const given of wrong) assert.ok(!passes(token('right'), { 'x-secret': given }), String(given).slice(0, 20))
    assert.ok(!passes(token('right'), {}))
    assert.ok(!passes(token('right'), { 'x-other': 'right' }))
  })

  it('never opens when it is empty', () => {
    for (const given of [undefined, '', 'undefined', 'x']) assert.ok(!passes(token(''), { 'x-secret': given }))
  })

  it('is not led astray by names of prototypes', () => {
    for (const name of ['constructor', '__proto__', 'toString']) assert.ok(!passes(token('x', name), {}))
  })
})

describe('a signature in the query over a field of the body, as WeCom', () => {
  // The example of the platform's own page: developer.work.weixin.qq.com/document/path/90968
  const sealed =
    'RypEvHKD8QQKFhvQ6QleEB4J58tiPdvo+rtK1I9qca6aM/wvqnLSV5zEPeusUiX5L5X/0lWfrf0QADHHhGd3QczcdCUpj911L3vg3W/sYYvuJTs3TUUkSUXxaccAS0qhxchrRYt66wiSpGLYL42aM6A8dTT+6k4aSknmPj48kzJs8qLjvd4Xgpue06DOdnLxAUHzM6+kDZ+HMZfJYuR+LtwGc2hgf5gsijff0ekUNXZiqATP7PF5mZxZ3Izoun1s4zG4LUMnvw2r+KqCKIw+3IQH03v+BCA9nMELNqbSf6tiWSrXJB3LAVGUcallcrw8V2t9EL4EhzJWrQUax5wLVMNS0+rUPA3k22Ncx4XXZS9o0MBH27Bo6BpNelZpS+/uh9KsNlY6bHCmJU9p8g7m3fVKn28H3KDYA5Pl/T8Z1ptDAVe0lXdQ2YoyyH2uyPIGHBZZIs2pDBS8R07+qN+E7Q=='
  const query = { msg_signature: '477715d11cdb4164915debcba66cb864d751f3e6', timestamp: '1409659813', nonce: '1372623149' }
  const verification: WebhookVerification = {
    kind: 'digest',
    method: 'POST',
    algorithm: 'sha1',
    encoding: 'hex',
    at: { query: 'msg_signature' },
    secret: 'QDG6eK',
    signed: ['secret', { query: 'timestamp' }, { query: 'nonce' }, { field: 'Encrypt' }],
    sorted: true,
  }
  const xml = (inner: string) =>
    `<xml><ToUserName><![CDATA[wx5823bf96d3bd56c7]]></ToUserName>${inner}<AgentID><![CDATA[218]]></AgentID></xml>`
  const passes = (text: string, change: object = {}) =>
    verifyWebhook(verification, { method: 'POST', headers: {}, query, body: Buffer.from(text), ...change }, now)

  it('passes in XML and in JSON, with and without CDATA', () => {
    assert.ok(passes(xml(`<Encrypt><![CDATA[${sealed}]]></Encrypt>`)))
    assert.ok(passes(xml(`<Encrypt>${sealed}</Encrypt>`)))
    assert.ok(passes(JSON.stringify({ a: 1, Encrypt: sealed, text: '"Encrypt":"x"' }, null, 2)))
    assert.ok(passes(JSON.stringify({ Encrypt: sealed }).replaceAll('/', '\\/')), 'slashes may be escaped')
    assert.ok(!passes(JSON.stringify({ Encrypt: sealed }).replaceAll('/', '\\\\/')))
    assert.ok(!passes(JSON.stringify({ Encrypt: sealed }).replaceAll('/', '\\u002f')))
  })

  it('is refused for another field, two of them, another query or method', () => {
    const good = `<Encrypt><![CDATA[${sealed}]]></Encrypt>`
    assert.ok(!passes(xml(good.replace('RypE', 'RypF'))))
    assert.ok(!passes(xml(good + good)))
    assert.ok(!passes(xml(`<Encrypt>other</Encrypt>${good}`)))
    assert.ok(!passes(xml('')))
    assert.ok(!passes(xml(good), { method: 'GET' }))
    for (const name of ['msg_signature', 'timestamp', 'nonce']) {
      assert.ok(!passes(xml(good), { query: { ...query, [name]: undefined } }))
      assert.ok(!passes(xml(good), { query: { ...query, [name]: `${query[name as keyof typeof query]}0` } }))
      assert.ok(!passes(xml(good), { query: { ...query, [name]: [query[name as keyof typeof query]] } }))
    }
  })
})

describe('a secret in a field of the body', () => {
  const verification: WebhookVerification = { kind: 'field', name: 'token', secret: 'right' }
  const passes = (text: string) => verifyWebhook(verification, { headers: {}, body: Buffer.from(text) }, now)

  it('passes at any depth, and beside others of that name', () => {
    assert.ok(passes('{"token":"right"}'))
    assert.ok(passes('{"header":{"token" : "right"},"event":{"token":"c-123"}}'))
  })

  it('is refused inside of a text, and when it is another', () => {
    assert.ok(!passes(JSON.stringify({ text: '"token":"right"' })))
    for (const text of ['', '{"token":""}', '{"token":"wrong"}', '{"tokens":"right"}', '{"token":["right"]}'])
      assert.ok(!passes(text), text)
    assert.ok(!verifyWebhook({ ...verification, secret: '' }, { headers: {}, body: Buffer.from('{"token":""}') }, now))
  })
})

describe('a caller on this machine', () => {
  const passes = (peer: string | undefined, headers: object = {}) =>
    verifyWebhook({ kind: 'loopback' }, { headers: { ...headers }, peer, body }, now) &&
    mayBePlatform({ kind: 'loopback' }, { headers: { ...headers }, peer }, now)

  it('passes by its address', () => {
    for (const peer of ['127.0.0.1', '127.1.2.3', '::1', '::ffff:127.0.0.1']) assert.ok(passes(peer), peer)
  })

  it('is refused from elsewhere, and when a proxy passed it on', () => {
    for (const peer of [undefined, '', '10.0.0.1', '1127.0.0.1', '127.0.0.1.evil', '::2', '::ffff:10.0.0.1'])
      assert.ok(!passes(peer), String(peer))
    for (const name of ['x-forwarded-for', 'forwarded', 'x-real-ip', 'via']) assert.ok(!passes('127.0.0.1', { [name]: '127.0.0.1' }), name)
  })
})
