/** Addresses that others name (bad inputs, group E). A server that must not be reached keeps a ledger; it stays empty. */
import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { FetchError, isPosthouseError } from '@posthouse/contract'
import { createGuardedFetch } from './guarded-fetch.ts'

const MB = 1024 * 1024
/** What the owner opened, and what must not be reached: the same port on two addresses of this machine. */
const OPEN = '127.0.0.2'
const INNER = '127.0.0.1'
const servers: Server[] = []
/** Requests to the inner address. */
const reached: string[] = []
/** Requests to the open one, newest last. */
const seen: { readonly url: string; readonly method: string; readonly headers: IncomingMessage['headers']; readonly body: string }[] = []
let port = 0
const pages = new Map<string, RequestListener>()
/** Names as the test's own resolver knows them; each question takes the next answer, the last one stays. */
const names = new Map<string, string[][]>()
const questions: string[] = []

const guarded = createGuardedFetch({
  privateAddresses: [OPEN],
  lookup: async (name) => {
    questions.push(name)
    const answers = names.get(name)
    const found = answers && answers.length > 1 ? answers.shift() : answers?.[0]
    if (!found) throw Object.assign(new Error('not found'), { code: 'ENOTFOUND' })
    return found.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
  },
})

before(async () => {
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = []
    request
      .on('data', (chunk: Buffer) => chunks.push(chunk))
      .on('end', () => {
        const { url = '', method = '', headers } = request
        seen.push({ url, method, headers, body: Buffer.concat(chunks).toString() })
        const page = pages.get(url.split('?')[0] ?? '')
        if (page) page(request, response)
        else response.end('open')
      })
  }
  const open = createServer(answer)
  await new Promise<void>((resolve) => open.listen(0, OPEN, resolve))
  port = (open.address() as AddressInfo).port
  const inner = createServer((request, response) => {
    reached.push(String(request.url))
    response.end('inner')
  })
  await new Promise<void>((resolve) => inner.listen(port, INNER, resolve))
  servers.push(open, inner)
})
after(() => {
  for (const server of servers) {
    server.closeAllConnections()
    server.close()
  }
})

const codeOf = (error: unknown) => (isPosthouseError(error) ? error.code : error instanceof FetchError ? error.kind : String(error))
const outcome = async (url: string, options = {}) => {
  try {
    return await (await guarded(url, { timeout: 5000, ...options })).text()
  } catch (error) {
    return codeOf(error)
  }
}
const redirect = (path: string, location: string, status = 302) =>
  pages.set(path, (_request, response) => void response.writeHead(status, { location }).end())
const at = (host: string, path = '/') => `http://${host}:${port}${path}`

describe('E: an address', () => {
  it('that is allowed is fetched, by number and by name', async () => {
    names.set('intranet.example', [[OPEN]])
    assert.equal(await outcome(at(OPEN)), 'open')
    assert.equal(await outcome(at('intranet.example')), 'open')
    const answer = await guarded(at(OPEN, '/a?b=c#d'))
    assert.deepEqual([answer.status, answer.url, await answer.text()], [200, at(OPEN, '/a?b=c#d'), 'open'])
  })

  const inward: readonly [string, () => string][] = [
    ['loopback', () => at('127.0.0.1')],
    ['this machine in one figure', () => at('0')],
    ['this machine', () => at('0.0.0.0')],
    ['decimal', () => at('2130706433')],
    ['octal', () => at('0177.0.0.01')],
    ['hexadecimal', () => at('0x7f.1')],
    ['hexadecimal in one', () => at('0x7f000001')],
    ['left out parts', () => at('127.1')],
    ['a closing dot', () => at('127.0.0.1.')],
    ['full width', () => at('１２７.０.０.１')],
    ['another dot', () => at('127。0。0。1')],
    ['percent', () => at('%31%32%37.0.0.1')],
    ['IPv6 loopback', () => at('[::1]')],
    ['IPv6 loopback, written out', () => at('[0:0:0:0:0:0:0:1]')],
    ['no address of IPv6', () => at('[::]')],
    ['mapped', () => at('[::ffff:127.0.0.1]')],
    ['mapped metadata', () => 'http://[::ffff:169.254.169.254]/latest/meta-data/'],
    ['compatible', () => at('[::127.0.0.1]')],
    ['metadata', () => 'http://169.254.169.254/latest/meta-data/'],
    ['metadata of Azure', () => 'http://168.63.129.16/'],
    ['shared space', () => 'http://100.64.0.1/'],
    ['metadata in shared space', () => 'http://100.100.100.200/'],
    ['NAT64', () => at('[64:ff9b::127.0.0.1]')],
    ['NAT64, local', () => at('[64:ff9b:1::7f00:1]')],
    ['6to4', () => at('[2002:7f00:1::]')],
    ['Teredo', () => at('[2001:0:4136:e378:8000:63bf:3fff:fdd2]')],
    ['unique local', () => 'http://[fd00:ec2::254]/'],
    ['link local', () => 'http://[fe80::1]/'],
    ['a name of this machine', () => at('localhost')],
    ['a name that leads inward', () => at('inward.example')],
    ['a name that leads inward by IPv6', () => at('six.example')],
    ['a name that leads out and inward', () => 'http://mixed.example/'],
    ['user@host', () => `http://public.example@127.0.0.1:${port}/`],
    ['password', () => `http://a:b@${OPEN}:${port}/`],
    ['a backslash', () => `http:\\\\127.0.0.1:${port}\\`],
    ['a tab within', () => `http://127.0\t.0.1:${port}/`],
    ['file', () => 'file:///etc/passwd'],
    ['gopher', () => `gopher://127.0.0.1:${port}/_GET`],
    ['ftp', () => 'ftp://public.example/'],
    ['data', () => 'data:text/plain,x'],
    ['blob', () => 'blob:http://public.example/1'],
    ['javascript', () => 'javascript:alert(1)'],
    ['another port', () => 'http://public.example:22/'],
    ['a port of this gateway', () => 'https://public.example:8080/'],
    ['nothing', () => ''],
    ['no host', () => 'http://'],
    ['no address', () => 'nonsense'],
    ['an endless one', () => `http://public.example/${'a'.repeat(9000)}`],
  ]
  for (const [name, url] of inward) {
    it(`${name} is refused, and nobody is called`, async () => {
      names.set('localhost', [['127.0.0.1', '::1']])
      names.set('inward.example', [['127.0.0.1']])
      names.set('six.example', [['::1']])
      names.set('mixed.example', [['93.184.216.34', '10.0.0.1']])
      names.set('public.example', [['93.184.216.34']])
      assert.equal(await outcome(url()), 'address-refused')
      assert.deepEqual(reached, [])
    })
  }

  it('that is not known fails as a connection, and says no name', async () => {
    const error = await guarded('http://secret-name.example/').catch((failure: unknown) => failure)
    assert.equal(codeOf(error), 'connect')
    assert.doesNotMatch(String(error), /secret-name/)
  })

  it('is resolved once: a name that turns inward behind the check leads where it was judged', async () => {
    names.set('turning.example', [[OPEN], [INNER]])
    questions.length = 0
    assert.equal(await outcome(at('turning.example')), 'open')
    assert.deepEqual(questions, ['turning.example'])
    assert.equal(await outcome(at('turning.example')), 'address-refused')
    assert.deepEqual(reached, [])
  })
})

describe('E: a redirect', () => {
  it('is followed, within bounds', async () => {
    redirect('/one', '/two')
    redirect('/two', at(OPEN, '/three'))
    assert.equal(await outcome(at(OPEN, '/one')), 'open')
    const answer = await guarded(at(OPEN, '/one'))
    assert.deepEqual([answer.url, await answer.text()], [at(OPEN, '/three'), 'open'])
    redirect('/round', '/round')
    assert.equal(await outcome(at(OPEN, '/round')), 'address-refused')
  })

  it('is judged like an address', async () => {
    names.set('inward.example', [[INNER]])
    names.set('turning.example', [[OPEN], [INNER]])
    const targets = [
      at(INNER),
      at('[::1]'),
      at('inward.example'),
      `//${INNER}:${port}/`,
      'file:///etc/passwd',
      'gopher://127.0.0.1/',
      `http://a@${OPEN}:${port}/`,
      'http://',
      '\\\\127.0.0.1\\share',
    ]
    for (const [index, target] of targets.entries()) {
      redirect(`/to-${index}`, target)
      assert.equal(await outcome(at(OPEN, `/to-${index}`)), 'address-refused', target)
    }
    redirect('/turn', at('turning.example'))
    assert.equal(await outcome(at('turning.example', '/turn')), 'address-refused', 'the name is judged anew')
    assert.deepEqual(reached, [])
  })

  it('takes no credentials to another origin', async () => {
    names.set('other.example', [[OPEN]])
    redirect('/leave', at('other.example', '/there'))
    redirect('/stay', '/here')
    const headers = { Authorization: 'Bearer x', cookie: 'a=b', 'X-Api-Key': 'k', accept: 'text/plain', 'proxy-authorization': 'p' }
    assert.equal(await outcome(at(OPEN, '/leave'), { headers }), 'open')
    const there = seen.at(-1)?.headers ?? {}
    assert.equal(seen.at(-1)?.url, '/there')
    assert.deepEqual(
      [there.authorization, there.cookie, there['x-api-key'], there['proxy-authorization'], there.accept],
      [undefined, undefined, undefined, undefined, 'text/plain'],
    )
    assert.equal(await outcome(at(OPEN, '/stay'), { headers }), 'open')
    assert.equal(seen.at(-1)?.headers.authorization, 'Bearer x')
  })

  it('does not repeat what was posted to another origin', async () => {
    names.set('other.example', [[OPEN]])
    redirect('/again', '/posted', 307)
    redirect('/elsewhere', at('other.example', '/posted'), 307)
    redirect('/see', at('other.example', '/got'), 303)
    const post = { method: 'POST', body: 'secret' }
    assert.equal(await outcome(at(OPEN, '/again'), post), 'open')
    assert.deepEqual([seen.at(-1)?.method, seen.at(-1)?.body], ['POST', 'secret'])
    assert.equal(await outcome(at(OPEN, '/elsewhere'), post), 'address-refused')
    assert.equal(await outcome(at(OPEN, '/see'), post), 'open')
    assert.deepEqual([seen.at(-1)?.url, seen.at(-1)?.method, seen.at(-1)?.body], ['/got', 'GET', ''])
  })
})

describe('E: a body', () => {
  it('is cut off when it is too long, whether its length is told or not', async () => {
    for (const told of [true, false]) {
      let sent = 0
      pages.set('/endless', (_request, response) => {
        response.writeHead(200, told ? { 'content-length': 10 * 1024 * MB } : {})
        const pump = () => {
          while (!response.destroyed && sent < 200 * MB && response.write(Buffer.alloc(MB))) sent += MB
        }
        response.on('drain', pump)
        pump()
      })
      assert.equal(await outcome(at(OPEN, '/endless'), { maxBytes: 2 * MB }), 'too-large')
      assert.ok(sent < 30 * MB, `${sent} bytes`)
    }
    pages.set('/just', (_request, response) => void response.end('x'.repeat(1000)))
    assert.equal((await outcome(at(OPEN, '/just'), { maxBytes: 1000 })).length, 1000)
    assert.equal(await outcome(at(OPEN, '/just'), { maxBytes: 999 }), 'too-large')
  })

  it('that comes too slowly ends with the time, and its line is closed, read or not', async () => {
    const closed = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    pages.set('/drip', (_request, response) => {
      const timer = setInterval(() => response.write('x'), 10)
      response.on('close', () => {
        clearInterval(timer)
        closed.shift()?.resolve()
      })
    })
    const [first, second] = closed.map(({ promise }) => promise)
    assert.equal(await outcome(at(OPEN, '/drip'), { timeout: 150 }), 'timeout')
    await first
    await guarded(at(OPEN, '/drip'), { timeout: 150 })
    await second
  })

  it('is given up when the caller leaves', async () => {
    pages.set('/silent', () => {})
    const abort = new AbortController()
    const asked = outcome(at(OPEN, '/silent'), { signal: abort.signal })
    abort.abort()
    assert.equal(await asked, 'aborted')
    assert.equal(await outcome(at(OPEN, '/silent'), { signal: AbortSignal.abort() }), 'aborted')
    assert.equal(await outcome(at(OPEN, '/silent'), { timeout: 50 }), 'timeout')
  })

  it('that is no JSON is not quoted', async () => {
    pages.set('/json', (_request, response) => void response.end('secret words'))
    await assert.rejects(
      async () => (await guarded(at(OPEN, '/json'))).json(),
      (error: Error) => !error.message.includes('secret'),
    )
  })
})
