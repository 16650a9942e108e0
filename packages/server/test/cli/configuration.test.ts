// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are the configuration's own placeholders
/** The loader: what is refused and how it is told, what is accepted, what a secret may touch. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { type Bilingual, priorities } from '@posthouse/contract'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { parse } from 'yaml'
import { catalog } from '../../src/catalog.ts'
import { jsonSchema, loadConfig, parseConfig } from '../../src/config/index.ts'
import { broken, SECRET } from './broken-configurations.ts'

const folder = mkdtempSync(join(tmpdir(), 'posthouse-config-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const env = { TOKEN: SECRET, EMPTY: '', PORT: '9090', OFF: 'false' }
const load = (text: string) => parseConfig(text, join(folder, 'posthouse.yaml'), catalog, env, folder)
const said = (text: Bilingual) => text.en.replace(/^posthouse\.yaml:/, '')
const ENDPOINT = 'models: { endpoints: { main: { api: openai, base_url: "http://127.0.0.1:1/v1", model: m } } }\n'
const TELEGRAM = `channels: { telegram: { token: "${SECRET}" } }\n`

describe('a broken configuration', () => {
  for (const { name, text, problems, starts = false } of broken) {
    it(name, () => {
      const began = performance.now()
      const loaded = load(text)
      assert.ok(performance.now() - began < 2000, 'refused in time')
      const told = loaded.problems.map((problem) => said(problem.text))
      assert.equal(told.length, problems.length, told.join('\n'))
      problems.forEach((pattern, index) => {
        assert.match(told[index] ?? '', pattern)
      })
      assert.equal(loaded.config !== undefined, starts)
      for (const problem of loaded.problems) {
        assert.match(problem.text.zh, /[\p{Script=Han}]/u, 'told in Chinese, too')
        assert.equal(problem.account !== undefined, starts)
      }
      assert.ok(!JSON.stringify(loaded.problems).includes('secret-of-nobody'), 'no secret is told')
    })
  }

  it('is one of many', () => assert.ok(broken.length >= 50, String(broken.length)))

  it('changes no prototype', () => {
    load(
      '__proto__: { polluted: 1 }\nplatforms: [{ name: __proto__, type: telegram, polluted: 1 }]\nserver: { __proto__: { polluted: 1 } }',
    )
    load(`models: { endpoints: { a: { api: openai, model: m, headers: { __proto__: { polluted: 1 }, x: y } } } }`)
    assert.equal(({} as { polluted?: unknown }).polluted, undefined)
  })

  it('hides the passwords of addresses, as they are written and as they are meant', () => {
    const [broker, redis] = ['amqp://user:pass%3Aword@host', 'rediss://:other-word@host/1']
    const { config, secrets } = load(`broker: { url: "${broker}" }\nredis: { url: "${redis}" }`)
    assert.deepEqual([config?.broker.prefix, config?.redis.prefix], ['posthouse', 'posthouse'])
    assert.deepEqual(secrets, [broker, 'pass%3Aword', 'pass:word', redis, 'other-word'])
    assert.deepEqual(load('broker: { url: "embedded:" }').config?.broker.url, undefined)
  })

  it('closes its own account only', () => {
    const { config, problems } = load(`channels:\n  one: { type: telegram, token: "${SECRET}" }\n  two: { type: telegram }\n  three: {}`)
    assert.deepEqual(
      config?.accounts.map(({ id }) => id),
      ['one'],
    )
    assert.deepEqual([...new Set(problems.map(({ account }) => account))], ['two', 'three'])
  })
})

describe('a file', () => {
  const file = (name: string, content: string | Uint8Array) => {
    writeFileSync(join(folder, name), content)
    return loadConfig(join(folder, name), catalog, env, folder)
  }
  const only = ({ problems, config }: ReturnType<typeof loadConfig>) => {
    assert.equal(config, undefined)
    assert.equal(problems.length, 1)
    return problems[0]?.text.en ?? ''
  }

  it('that is not there, a folder, too large or in another encoding is refused', () => {
    assert.match(
      only(loadConfig(join(folder, 'none.yaml'), catalog, env, folder)),
      /there is no such file. Create it with `posthouse init`/,
    )
    assert.match(only(loadConfig(folder, catalog, env, folder)), /this is not a file/)
    assert.match(only(file('large.yaml', '#'.repeat(300_000))), /larger than 256 KB/)
    assert.match(only(file('gbk.yaml', Buffer.from([0x23, 0xc4, 0xe3, 0xba, 0xc3, 0x0a]))), /not UTF-8/)
    assert.match(only(loadConfig('/dev/zero', catalog, env, folder)), /this is not a file/)
  })

  it('may begin with a byte order mark, be empty or hold comments only', () => {
    assert.equal(file('bom.yaml', '\ufeffserver: { port: 1 }').config?.server.port, 1)
    assert.ok(file('empty.yaml', '').config)
    assert.ok(file('comments.yaml', '# nothing\n').config)
  })

  it('refers to files beside it, through a symlink beside the link', () => {
    mkdirSync(join(folder, 'secrets'), { recursive: true })
    writeFileSync(join(folder, 'secrets/token'), `${SECRET}\n`)
    writeFileSync(join(folder, 'real.yaml'), 'channels: { telegram: { token: "${file:secrets/token}" } }')
    symlinkSync(join(folder, 'real.yaml'), join(folder, 'link.yaml'))
    assert.equal(loadConfig(join(folder, 'link.yaml'), catalog, env, folder).config?.accounts[0]?.settings.token, SECRET)
    writeFileSync(join(folder, 'secrets/large'), 'x'.repeat(65 * 1024))
    assert.match(
      only(file('l.yaml', `${ENDPOINT.replace('model: m', 'model: m, api_key: "${file:secrets/large}"')}`)),
      /the file secrets\/large cannot be read/,
    )
    assert.match(only(file('z.yaml', `${ENDPOINT.replace('model: m', 'model: m, api_key: "${file:/dev/zero}"')}`)), /cannot be read/)
  })
})

describe('what is accepted', () => {
  it('nothing at all: the defaults and the demo', () => {
    const { config, problems, notices } = load('')
    assert.deepEqual([problems, notices], [[], []])
    assert.equal(config?.models.primary, 'demo')
    assert.equal(config?.resources.timeout, 180_000)
    assert.equal(config?.resources.maxFile, 50 * 1024 * 1024)
    assert.equal(config?.server.host, '127.0.0.1')
    assert.equal(config?.language, undefined)
  })

  it('units, in any case and with a space; integers of a provider, too', () => {
    const { config } = load(
      `resources: { timeout: 1.5 M, max_file: 2gb }\n${ENDPOINT.replace('model: m', 'model: m, idle_timeout: 45s, total_timeout: 500ms')}`,
    )
    assert.equal(config?.resources.timeout, 90_000)
    assert.equal(config?.resources.maxFile, 2 * 1024 ** 3)
    const [main] = config?.models.endpoints ?? []
    assert.deepEqual([main?.settings.idle_timeout, main?.settings.total_timeout, main?.settings.connect_timeout], [45_000, 500, 10_000])
  })

  it('zero needs no unit', () => {
    assert.equal(load(TELEGRAM.replace('" }', '", poll_timeout: 0 }')).config?.accounts[0]?.settings.poll_timeout, 0)
  })

  it('references for secrets, numbers and switches, and within a text', () => {
    const { config, problems } = load(
      'server: { port: "${env:PORT}", public_url: "https://h:${env:PORT}/" }\nchannels: { telegram: { token: "${env:TOKEN}" }, b: { type: telegram, token: "${env:TOKEN}", enabled: "${env:OFF}" } }',
    )
    assert.deepEqual(problems, [])
    assert.equal(config?.server.port, 9090)
    assert.equal(config?.server.publicUrl, 'https://h:9090')
    assert.deepEqual(
      config?.accounts.map(({ id, settings }) => [id, settings.token]),
      [['telegram', SECRET]],
    )
  })

  it('ids as numbers or texts; nobody is not everybody', () => {
    const users = (list: string) => load(TELEGRAM.replace('" }', `", allowed_users: ${list} }`)).config?.accounts[0]?.allowedUsers
    assert.deepEqual(users('[12, "34"]'), new Set(['12', '34']))
    assert.deepEqual(users('[]'), new Set())
    assert.equal(load(TELEGRAM).config?.accounts[0]?.allowedUsers, undefined)
  })

  it("the field's own forms, each with a notice", () => {
    const { config, problems, notices } = load(
      [
        'platforms:',
        `  - { type: telegram, token: "${SECRET}", allowed_users: [1] }`,
        `  - { name: desk, platform: telegram, config: { token: "${SECRET}" }, settings: { mode: polling } }`,
        `  - { type: telegram, config: { token: "${SECRET}" } }`,
        'supported_platforms: [telegram]',
        'models: { default: main, endpoints: { other: { api: demo }, main: { api: demo } } }',
      ].join('\n'),
    )
    assert.deepEqual(problems, [])
    assert.equal(config?.models.primary, 'main')
    assert.deepEqual(
      config?.accounts.map(({ id }) => id),
      ['telegram', 'desk', 'telegram-2'],
    )
    assert.equal(notices.length, 3)
    for (const { en, zh } of notices) assert.ok(/models|channels|enabled/.test(en) && /[\p{Script=Han}]/u.test(zh))
  })

  it('a class of work for each account: chat is interactive, mail is not watched', () => {
    const mail = 'type: email, address: a@example.com, password: x, imap: { host: i }, smtp: { host: s }, authserv_id: "-"'
    const { config, problems } = load(
      `channels: { telegram: { token: "${SECRET}" }, news: { type: telegram, token: "${SECRET}", priority: background }, desk: { ${mail} }, fast: { ${mail}, priority: interactive } }`,
    )
    assert.deepEqual(problems, [])
    assert.deepEqual(
      config?.accounts.map(({ id, priority }) => [id, priority]),
      [
        ['telegram', priorities.interactive],
        ['news', priorities.background],
        ['desk', priorities.normal],
        ['fast', priorities.interactive],
      ],
    )
    assert.match(load(`${TELEGRAM.replace('token', 'priority: soon, token')}`).problems[0]?.text.en ?? '', /priority/)
  })

  it('platforms as a section, beside channels', () => {
    const { config } = load(`${TELEGRAM}platforms: { telegram: { token: "${SECRET}" }, desk: { type: telegram, token: "${SECRET}" } }`)
    assert.deepEqual(
      config?.accounts.map(({ id }) => id),
      ['telegram', 'telegram-2', 'desk'],
    )
  })

  it('a list of supported platforms turns the others off', () => {
    const { config } = load(
      `supported_platforms: [{ name: one }]\nchannels: { one: { type: telegram, token: "${SECRET}" }, two: { type: telegram, token: "${SECRET}" } }`,
    )
    assert.deepEqual(
      config?.accounts.map(({ id }) => id),
      ['one'],
    )
  })

  it('anchors, within the limit', () => {
    const { config } = load(`channels: { a: &a { type: telegram, token: "${SECRET}" }, b: *a }`)
    assert.deepEqual(
      config?.accounts.map(({ id }) => id),
      ['a', 'b'],
    )
  })
})

describe('the schema for editors', () => {
  const validate = new Ajv2020({ strict: false, allErrors: true }).compile(jsonSchema(catalog))
  const good = [
    'server: { port: 1, trusted_proxies: [loopback] }',
    'server: { port: "${env:PORT}" }',
    'resources: { timeout: 30s, max_file: 50MB }',
    'channels: { telegram: { token: "${env:TOKEN}", allowed_users: [1, "2"], poll_timeout: 20s } }',
    `${ENDPOINT}language: zh`,
    'assistant: { burst: one-by-one }',
  ]
  for (const text of good) {
    it(`accepts what the loader accepts: ${text.slice(0, 60)}`, () => {
      assert.ok(load(text).config)
      assert.ok(validate(parse(text)), JSON.stringify(validate.errors))
    })
  }
  const bad = [
    'server: { prot: 1 }',
    'server: { port: 65536 }',
    'resources: { timeout: 30 }',
    'language: fr',
    'channels: { t: { type: telegram } }',
    'models: { endpoints: { a: { model: m } } }',
  ]
  for (const text of bad)
    it(`refuses what the loader refuses: ${text}`, () => assert.ok(load(text).problems.length > 0 && !validate(parse(text))))
})
