/** Files: what went up comes down byte for byte, to its owner only, as nothing that a browser would run. */
import assert from 'node:assert/strict'
import { randomBytes, randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { createLinks, loadKey } from '../../src/security/index.ts'
import { filesBelow } from '../chaos/machine.ts'
import { preloading } from '../chaos/preload/edit.ts'
import { until } from '../journeys/posthouse.ts'
import { type Caller, type Gateway, raw, refusal, startGateway } from './gateway.ts'

let gateway: Gateway
let eve: Caller
before(async () => {
  gateway = await startGateway()
  eve = await gateway.person('Eve')
})
after(() => gateway[Symbol.asyncDispose]())

const MB = 1024 * 1024
const png = Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==', 'base64')

function upload(name: string, bytes: Uint8Array<ArrayBuffer>, token = gateway.admin.token) {
  const form = new FormData()
  form.append('file', new Blob([bytes]), name)
  return gateway.call('/api/v1/files', { token, body: form })
}

/** A form as bytes, for names that the client's own form would not send. */
function uploadRaw(disposition: string, content = 'hello', type = 'multipart/form-data; boundary=XX') {
  const body = Buffer.from(`--XX\r\nContent-Disposition: ${disposition}\r\nContent-Type: text/plain\r\n\r\n${content}\r\n--XX--\r\n`)
  return gateway.call('/api/v1/files', { token: gateway.admin.token, body, headers: { 'content-type': type } })
}

/** Addresses as the gateway itself makes them: with the key that lies beside its data. */
function linksOf({ posthouse }: Gateway) {
  return { links: createLinks(loadKey(join(posthouse.folder, 'posthouse.key'), true)), now: Date.now() }
}

const left = () => {
  const folder = join(gateway.posthouse.folder, 'data/files')
  return readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
}

describe('a signed address', () => {
  it('opens one file to anybody for its time, and nothing else', async () => {
    const { body } = await upload('hello.txt', Buffer.from('hello'))
    const { links, now } = linksOf(gateway)
    const good = links.make(body.id, now + 60_000)
    const answer = await fetch(gateway.url + good)
    assert.equal(answer.status, 200)
    assert.equal(await answer.text(), 'hello')
    assert.match(String(answer.headers.get('content-disposition')), /^attachment; /)
    assert.equal(answer.headers.get('cache-control'), 'private, no-store')
    const other = await upload('other.txt', Buffer.from('other'))
    for (const path of [
      links.make(body.id, now - 1),
      good.replace(body.id, other.body.id),
      good.replace(/\/(\d+)\//, (_, at) => `/${Number(at) + 1}/`),
      `${good}A`,
      good.slice(0, -1),
    ])
      assert.equal((await fetch(gateway.url + path)).status, 401, path)
    assert.equal((await fetch(gateway.url + links.make(randomUUID(), now + 60_000))).status, 404)
  })
})

describe('an upload', () => {
  it('comes down byte for byte, with headers that let nothing run', async () => {
    for (const size of [1, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 3 * MB]) {
      const bytes = randomBytes(size)
      const { status, body, text } = await upload('数据 (1).bin', bytes)
      assert.equal(status, 200, text)
      assert.deepEqual([body.name, body.size], ['数据 (1).bin', size])
      const response = await fetch(`${gateway.url}/api/v1/files/${body.id}`, {
        headers: { authorization: `Bearer ${gateway.admin.token}` },
      })
      const back = Buffer.from(await response.arrayBuffer())
      assert.ok(back.equals(bytes), `${size} bytes`)
      assert.equal(response.headers.get('content-type'), 'application/octet-stream')
      assert.equal(response.headers.get('x-content-type-options'), 'nosniff')
      assert.match(String(response.headers.get('content-security-policy')), /^sandbox/)
      assert.equal(response.headers.get('content-disposition'), `attachment; filename*=UTF-8''${encodeURIComponent('数据 ')}%281%29.bin`)
    }
  })

  it('is judged by its bytes, not by its name', async () => {
    const picture = await upload('page.html', png)
    assert.deepEqual([picture.body.mime, picture.body.kind], ['image/png', 'image'])
    for (const [name, content] of [
      ['picture.png', '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'],
      ['picture.png', '<!doctype html><script>alert(1)</script>'],
    ] as const) {
      const { body } = await upload(name, Buffer.from(content))
      assert.notEqual(body.kind, 'image')
      const down = await gateway.call(`/api/v1/files/${body.id}`, { token: gateway.admin.token })
      assert.equal(down.headers.get('content-type'), 'application/octet-stream')
      assert.match(String(down.headers.get('content-disposition')), /^attachment/)
      assert.equal(down.text, content)
    }
  })

  it('of 50 MB is taken, of one byte more it is refused, and nothing of it stays', async () => {
    const most = 50 * MB
    const bytes = Buffer.alloc(most + 1, 'x')
    assert.equal((await upload('most.txt', bytes.subarray(0, most))).status, 200)
    const kept = left().length
    const refused = await upload('more.txt', bytes)
    assert.equal(refused.status, 413)
    assert.equal(refusal(refused, 'too-large'), '')
    assert.equal(left().length, kept)
  })

  it('without an end is refused while it streams', async () => {
    const chunk = new Uint8Array(MB).fill(120)
    let sent = 0
    const head = new TextEncoder().encode('--XX\r\nContent-Disposition: form-data; name="file"; filename="endless"\r\n\r\n')
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        controller.enqueue(sent === 0 ? head : chunk)
        sent++
        if (sent > 1000) controller.close()
      },
    })
    const asking = {
      method: 'POST',
      body,
      duplex: 'half',
      headers: { authorization: `Bearer ${gateway.admin.token}`, 'content-type': 'multipart/form-data; boundary=XX' },
    }
    const status = await fetch(`${gateway.url}/api/v1/files`, asking as RequestInit).then(
      (response) => response.status,
      () => 'cut',
    )
    assert.ok(status === 413 || status === 'cut', String(status))
    assert.ok(sent < 150, `${sent} MB were taken`)
    assert.equal((await gateway.call('/healthz')).status, 200)
  })

  it('that breaks off leaves nothing behind', async () => {
    const kept = left().length
    const line = `POST /api/v1/files HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${gateway.admin.token}\r\ncontent-type: multipart/form-data; boundary=XX\r\ncontent-length: 5000000\r\n\r\n--XX\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n${'x'.repeat(200_000)}`
    await raw(gateway.url, line, { quiet: 200 })
    await until(() => left().length === kept, 'the part is removed')
    assert.ok(!gateway.posthouse.log.some((text) => text.includes('a request failed')))
  })
})

describe('the room for files', () => {
  it('is bounded for each and for all, told in both languages, and free again when files go', async () => {
    await using small = await startGateway({ config: { resources: { max_stored_per_owner: '100KB', max_stored: '150KB' } } })
    const bob = await small.person('Bob')
    const send = (who: Caller, size: number, language = 'en') => {
      const form = new FormData()
      form.append('file', new Blob([Buffer.alloc(size, 'x')]), 'a.txt')
      return small.call('/api/v1/files', { token: who.token, body: form, headers: { 'accept-language': language } })
    }
    const first = await send(small.admin, 100 * 1024)
    assert.equal(first.status, 200)
    const own = await send(small.admin, 1)
    assert.equal(refusal(own, 'no-room'), '')
    assert.deepEqual([own.status, /no room/.test(own.body.error.message)], [413, true])
    const all = await send(bob, 60 * 1024, 'zh')
    assert.equal(refusal(all, 'no-room'), '')
    assert.match(all.body.error.message, /空间已满/)
    assert.equal((await send(bob, 50 * 1024)).status, 200)
    // A conversation takes its files with it.
    using socket = await small.socket(small.admin)
    const conversation = randomUUID()
    socket.send({ type: 'send', id: randomUUID(), conversation_id: conversation, text: 'look', files: [first.body.id] })
    await socket.wait('accepted')
    assert.equal((await small.call(`/api/v1/conversations/${conversation}`, { method: 'DELETE', token: small.admin.token })).status, 204)
    assert.equal((await send(small.admin, 100 * 1024)).status, 200)
  })
})

describe('what is refused', () => {
  it('is told as invalid', async () => {
    const { token } = gateway.admin
    const json = { files: [{ path: '/etc/passwd' }], file: '/etc/passwd' }
    assert.equal(refusal(await gateway.call('/api/v1/files', { token, json }), 'invalid'), '')
    assert.equal(refusal(await gateway.call('/api/v1/chat', { token, json: { query: 'x', ...json } }), 'invalid'), '')
    assert.equal(refusal(await upload('empty.txt', Buffer.alloc(0)), 'invalid'), '')
    assert.equal(refusal(await uploadRaw('form-data; name="other"; filename="a"'), 'invalid'), '')
    assert.equal(refusal(await uploadRaw('form-data; name="file"'), 'invalid'), '')
    const broken: readonly [string, string, string][] = [
      ['no boundary', 'multipart/form-data', 'x'],
      ['wrong boundary', 'multipart/form-data; boundary=YY', '--XX\r\n\r\nx'],
      ['no end', 'multipart/form-data; boundary=XX', '--XX\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx'],
      ['no form', 'multipart/form-data; boundary=XX', 'nonsense'],
      ['empty', 'multipart/form-data; boundary=XX', ''],
      [
        'huge part headers',
        'multipart/form-data; boundary=XX',
        `--XX\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n${'X: y\r\n'.repeat(5000)}\r\nx\r\n--XX--`,
      ],
      ['other type', 'application/x-www-form-urlencoded', 'file=x'],
    ]
    for (const [name, type, body] of broken) {
      const answer = await gateway.call('/api/v1/files', { method: 'POST', token, body, headers: { 'content-type': type } })
      if (name === 'huge part headers' && answer.status === 200) continue
      assert.equal(refusal(answer, ['invalid', 'unsupported', 'too-large']), '', name)
    }
  })

  it('a name is shown, and never more than that', async () => {
    const names: readonly [string, string][] = [
      ['../../etc/passwd', 'passwd'],
      ['C:\\\\Windows\\\\system32\\\\evil.dll', 'evil.dll'],
      ['a\u202Egnp.exe', 'agnp.exe'],
      ['<img src=x onerror=alert(1)>.txt', '<img src=x onerror=alert(1)>.txt'],
      ['..', 'file'],
      ['/..../', 'file'],
      ['', 'file'],
      ['\u200F\u2066\u0007', 'file'],
      [`${'😀'.repeat(300)}.txt`, `${'😀'.repeat(196)}.txt`],
      ["it's (1)*.txt", "it's (1)*.txt"],
    ]
    for (const [given, shown] of names) {
      const answer = await uploadRaw(`form-data; name="file"; filename="${given}"`)
      if (given === '') continue
      assert.equal(answer.status, 200, `${given}: ${answer.text}`)
      assert.equal(answer.body.name, shown)
      const down = await gateway.call(`/api/v1/files/${answer.body.id}`, { token: gateway.admin.token })
      assert.deepEqual([down.status, down.text], [200, 'hello'])
      const disposition = String(down.headers.get('content-disposition'))
      assert.match(disposition, /^attachment; filename\*=UTF-8''[\w.~!-]*(?:%[0-9A-F]{2}[\w.~!-]*)*$/)
      assert.equal(decodeURIComponent(disposition.split("''")[1] ?? ''), shown)
    }
    const crlf = await uploadRaw('form-data; name="file"; filename="a%0D%0ASet-Cookie: x=1.txt"')
    const down = await gateway.call(`/api/v1/files/${crlf.body.id}`, { token: gateway.admin.token })
    assert.equal(down.headers.get('set-cookie'), null)
  })

  it('a file of somebody else is not there, neither to read nor to send', async () => {
    const { body } = await upload('mine.txt', Buffer.from('mine'))
    assert.equal(refusal(await gateway.call(`/api/v1/files/${body.id}`, { token: eve.token }), 'not-found'), '')
    using socket = await gateway.socket(eve)
    socket.send({ type: 'send', id: randomUUID(), conversation_id: randomUUID(), text: 'look', files: [body.id] })
    assert.equal((await socket.wait('refused')).code, 'invalid')
    using mine = await gateway.socket(gateway.admin)
    const conversation = randomUUID()
    mine.send({ type: 'subscribe', conversation_id: conversation, after: 0 })
    mine.send({ type: 'send', id: randomUUID(), conversation_id: conversation, text: 'look', files: [body.id] })
    const { message } = await mine.wait('accepted')
    assert.deepEqual(message.files, [{ id: body.id, kind: 'file', name: 'mine.txt', mime: 'text/plain', size: 4 }])
  })
})

it('an upload that was never sent is gone after a day; what was sent stays', async () => {
  await using own = await startGateway()
  const { token } = await own.token(own.admin.id, ['chat'], 30 * 86_400_000)
  const send = async (name: string) => {
    const form = new FormData()
    form.append('file', new Blob([Buffer.from(name)]), name)
    return String((await own.call('/api/v1/files', { token, body: form })).body.id)
  }
  const [sent, forgotten] = [await send('sent.txt'), await send('forgotten.txt')]
  const socket = await own.socket({ token })
  const conversation = randomUUID()
  socket.send({ type: 'subscribe', conversation_id: conversation, after: 0 })
  socket.send({ type: 'send', id: randomUUID(), conversation_id: conversation, text: 'look', files: [sent] })
  await socket.wait('accepted')
  socket[Symbol.dispose]()
  await own.posthouse.stop()
  await own.posthouse.start(preloading({ CHAOS_DAYS: '2' }, 'crash'))
  const folder = join(own.posthouse.folder, 'data/files')
  await until(() => filesBelow(folder).length === 1, 'one file is left')
  const down = await own.call(`/api/v1/files/${sent}`, { token })
  assert.deepEqual([down.status, down.text], [200, 'sent.txt'])
  assert.equal(refusal(await own.call(`/api/v1/files/${forgotten}`, { token }), 'not-found'), '')
})
