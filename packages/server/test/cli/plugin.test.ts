/** A channel of one's own: from the template to passing tests, and into a gateway that answers through it. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { createModelEmulator } from '@posthouse/testkit'
import type { createPigeonEmulator } from '../../templates/channel/test/emulator.ts'
import { createPosthouse, until } from '../journeys/posthouse.ts'
import { freePort } from '../ports.ts'
import { createFolder } from './command.ts'

const packages = join(import.meta.dirname, '../../..')

/** What `npm install` does with the two packages that the template names. */
function install(folder: string): void {
  mkdirSync(join(folder, 'node_modules/@posthouse'), { recursive: true })
  for (const name of ['contract', 'testkit']) symlinkSync(join(packages, name), join(folder, 'node_modules/@posthouse', name))
}

describe('plugin new --channel', () => {
  it('makes a channel whose behaviours hold, and that a gateway answers through', async () => {
    const port = await freePort()
    await using model = await createModelEmulator({ keys: 'any', models: 'any' })
    const secrets = { token: 'token-of-ours-1', secret: 'secret-of-theirs-1' }
    const hook = `http://127.0.0.1:${port}/api/webhook/dove`
    await using posthouse = createPosthouse({})
    const made = await posthouse.cli('plugin', 'new', 'dove', '--channel')
    assert.equal(made.code, 0, made.stderr)
    const folder = join(posthouse.folder, 'dove')
    install(folder)
    assert.match(readFileSync(join(folder, 'src/index.ts'), 'utf8'), /export interface DoveSettings/)
    const { scripts } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { scripts: { test: string } }
    const tested = spawnSync('sh', ['-c', scripts.test.replace(/^node/, process.execPath)], {
      cwd: folder,
      encoding: 'utf8',
      env: { ...process.env, NODE_TEST_CONTEXT: undefined },
    })
    assert.equal(tested.status, 0, tested.stdout)
    assert.match(tested.stdout, /pass 1\d/)

    const { createDoveEmulator } = (await import(pathToFileURL(join(folder, 'test/emulator.ts')).href)) as {
      createDoveEmulator: typeof createPigeonEmulator
    }
    await using dove = await createDoveEmulator({ ...secrets, hook: () => hook })
    posthouse.configure({
      server: { port },
      plugins: ['./dove'],
      models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
      channels: { dove: { ...secrets, base_url: dove.url, allowed_users: ['ann'] } },
    })
    await posthouse.start()
    dove.say('are you there?')
    await dove.waitForPosted(({ text }) => text === 'You said: are you there?', 15_000)
    await until(() => dove.pending === 0, 'the call is acknowledged')
    const listed = await posthouse.cli('plugin', 'list', '--json')
    assert.deepEqual(JSON.parse(listed.stdout), [{ id: 'dove', version: '0.1.0', folder: './dove', channels: ['dove'] }])
    const explained = await posthouse.cli('config', 'explain', 'channels.dove.base_url')
    assert.match(explained.stdout, new RegExp(`channels\\.dove\\.base_url[^]*now: "${dove.url}"`), explained.stderr)
    const schema = JSON.parse((await posthouse.cli('config', 'schema')).stdout) as object
    assert.ok(JSON.stringify(schema).includes('"dove"'), 'editors know it')
  })

  it('says what it cannot do', async () => {
    using folder = createFolder()
    const cases: [string[], RegExp][] = [
      [['plugin', 'new', 'dove'], /--channel/],
      [['plugin', 'new', 'Not-A-Name', '--channel'], /2 to 32 small letters/],
      [['plugin', 'new', 'dove', '.', '--channel'], /something already/],
    ]
    writeFileSync(join(folder.path, 'here'), '')
    for (const [args, words] of cases) {
      const { code, stderr } = await folder.posthouse(...args)
      assert.equal(code, 2, args.join(' '))
      assert.match(stderr, words)
    }
  })

  it('a plugin that cannot be used is told, and stops nothing else', async () => {
    using folder = createFolder()
    const check = async (source: string | undefined) => {
      if (source !== undefined) writeFileSync(join(folder.path, 'plugin.mjs'), source)
      writeFileSync(join(folder.path, 'posthouse.yaml'), 'plugins: [./plugin.mjs]\nchannels: { bird: {} }\n')
      return await folder.posthouse('config', 'check')
    }
    const faults: [string | undefined, RegExp][] = [
      [undefined, /plugins\.0: this plugin cannot be used: there is no such folder or file/],
      ['export const plugin = 3', /exports no `plugin`/],
      ['throw new Error("broken inside")', /broken inside/],
      ['export const plugin = { id: "x", version: "1", engine: 2, setup() {} }', /written for version 2 of the contract; this is 1/],
      [
        'export const plugin = { id: "x", version: "1", engine: 1, setup(host) { host.channel({ id: "bird" }) } }',
        /a channel has id, settings/,
      ],
      [
        'export const plugin = { id: "x", version: "1", engine: 1, setup(host) { host.channel({ id: "telegram", settings: { fields: {}, required: [] }, capabilities: { rates: {} }, probe() {}, open() {} }) } }',
        /there is a channel "telegram" already/,
      ],
    ]
    for (const [source, words] of faults) {
      const { code, stdout, stderr } = await check(source)
      assert.equal(code, 0, stderr)
      assert.match(stdout + stderr, words)
      assert.match(stdout + stderr, /channels\.bird/)
    }
    const good =
      'export const plugin = { id: "x", version: "1", engine: 1, setup(host) { host.channel({ id: "bird", settings: { fields: {}, required: [] }, capabilities: { rates: {} }, probe() {}, open() {} }) } }'
    const { stdout } = await check(good)
    assert.match(stdout, /no problems/)
  })
})
