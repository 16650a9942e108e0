/** The configuration changes while the gateway runs: what is valid is taken over, what is not changes nothing. */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createModelEmulator, createTelegramEmulator } from '@posthouse/testkit'
import { createPosthouse, until } from './posthouse.ts'

describe('a running gateway', () => {
  it('takes over a new channel and another primary model, and keeps what it has when the change is invalid', async () => {
    await using telegram = await createTelegramEmulator()
    await using one = await createModelEmulator({ keys: 'any', models: 'any', reply: 'from one' })
    await using two = await createModelEmulator({ keys: 'any', models: 'any', reply: 'from two' })
    const models = (primary: string) => ({
      primary,
      endpoints: {
        one: { api: 'openai', base_url: `${one.url}/v1`, model: 'm' },
        two: { api: 'openai', base_url: `${two.url}/v1`, model: 'm' },
      },
    })
    const channels = { telegram: { token: telegram.token, api_root: telegram.url, send_rate: 1000, room_send_rate: 1000 } }
    await using posthouse = createPosthouse({ models: models('one') })
    await posthouse.start()
    const taken = () => posthouse.log.filter((line) => line.includes('was taken over')).length
    const settle = async (change: () => void) => {
      const before = taken()
      change()
      await until(() => taken() > before, 'the change is taken over')
    }
    const answers = (text: string) => telegram.posted().filter((message) => message.text === text).length

    await settle(() => posthouse.configure({ models: models('one'), channels }))
    telegram.say({ text: 'hello', chat: 1001 })
    await until(() => answers('from one') === 1, 'the new channel answers')

    await settle(() => posthouse.configure({ models: models('two'), channels }))
    telegram.say({ text: 'hello again', chat: 1001 })
    await until(() => answers('from two') === 1, 'the new primary answers')

    posthouse.configure({ models: models('three'), channels: {} })
    const refused = () => posthouse.log.find((line) => line.includes('the running one stays'))
    await until(() => refused() !== undefined, 'the refusal is told')
    assert.match(refused() ?? '', /models\.primary: there is no endpoint \\"three\\"/)
    telegram.say({ text: 'still there?', chat: 1001 })
    await until(() => answers('from two') === 2, 'the running configuration goes on')

    // What needs a restart is named, and the rest taken over.
    await settle(() => posthouse.configure({ models: models('one'), channels, resources: { max_waiting: 7 } }))
    assert.match(posthouse.log.findLast((line) => line.includes('was taken over')) ?? '', /"needsRestart":\["resources"\]/)

    await settle(() => posthouse.configure({ models: models('one'), channels: { telegram: { ...channels.telegram, mode: 'pull' } } }))
    const { stdout } = await posthouse.cli('status')
    assert.match(stdout, /channels\.telegram\.mode: .* \(the account telegram stays closed\)[\s\S]*Next: posthouse config check/)
    assert.doesNotMatch(stdout, /Account telegram: connected/)
    assert.equal(await posthouse.stop(), 0)
  })

  it('takes over a secret that was changed in its file, whatever way it got there', async () => {
    await using model = await createModelEmulator({ keys: ['first-key', 'second-key', 'third-key'], models: 'any' })
    await using posthouse = createPosthouse({
      models: {
        // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the configuration's own placeholder
        endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'm', api_key: '${file:secrets/key}' } },
      },
    })
    const { folder } = posthouse
    // As a secret is mounted: a link through `..data`, which an update swings.
    const mounted = (version: string, key: string) => {
      mkdirSync(join(folder, 'secrets', version), { recursive: true })
      writeFileSync(join(folder, 'secrets', version, 'key'), `${key}\n`)
      symlinkSync(version, join(folder, 'secrets/..data_tmp'))
      renameSync(join(folder, 'secrets/..data_tmp'), join(folder, 'secrets/..data'))
    }
    mounted('v1', 'first-key')
    symlinkSync('..data/key', join(folder, 'secrets/key'))
    await posthouse.start()
    const keyOf = () => model.calls.at(-1)?.headers.authorization
    const taken = () => posthouse.log.filter((line) => line.includes('was taken over')).length
    await until(() => taken() === 1, 'the port that the harness wrote')
    const token = /^\S+\.\S+\.\S+$/m.exec((await posthouse.cli('token', 'create', '--name', 't', '--scopes', 'chat')).stdout)?.[0]
    assert.ok(token)
    const ask = () =>
      fetch(`${posthouse.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify({ messages: [{ role: 'user', content: 'x' }] }),
      })
    assert.equal((await ask()).status, 200)
    assert.equal(keyOf(), 'Bearer first-key')

    mounted('v2', 'second-key')
    await until(() => taken() === 2, 'the secret was swung')
    assert.equal((await ask()).status, 200)
    assert.equal(keyOf(), 'Bearer second-key')

    unlinkSync(join(folder, 'secrets/key'))
    await until(() => posthouse.log.some((line) => line.includes('the file secrets/key cannot be read')), 'what is missing is told')
    assert.equal((await ask()).status, 200, 'the running configuration stays')
    writeFileSync(join(folder, 'secrets/key'), 'third-key')
    await until(() => taken() === 3, 'the secret is there again')
    await ask()
    assert.equal(keyOf(), 'Bearer third-key')
    assert.doesNotMatch(posthouse.log.join(), /(first|second|third)-key/)
    assert.equal(await posthouse.stop(), 0)
  })

  it('notices a file that is replaced, and one that is a link into a mounted folder', async () => {
    await using posthouse = createPosthouse({})
    const { folder } = posthouse
    const file = join(folder, 'posthouse.yaml')
    const contentOf = (burst: string) => JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), assistant: { burst } })
    // As a config map is mounted: the file is a link through `..data`, and an update swings `..data` to another folder.
    const mounted = (version: string, content: string) => {
      mkdirSync(join(folder, version))
      writeFileSync(join(folder, version, 'posthouse.yaml'), content)
      symlinkSync(version, join(folder, '..data_tmp'))
      renameSync(join(folder, '..data_tmp'), join(folder, '..data'))
    }
    const first = contentOf('coalesce')
    mounted('v1', first)
    unlinkSync(file)
    symlinkSync('..data/posthouse.yaml', file)
    await posthouse.start()
    const taken = () => posthouse.log.filter((line) => line.includes('was taken over')).length
    await until(() => taken() === 1, 'the port that the harness wrote before anybody watched')

    mounted('v2', contentOf('one-by-one'))
    await until(() => taken() === 2, 'the link was swung')

    writeFileSync(join(folder, 'edited'), contentOf('coalesce'))
    renameSync(join(folder, 'edited'), file)
    await until(() => taken() === 3, 'the file was replaced')

    unlinkSync(file)
    writeFileSync(file, '{ "server": { "prot": 1 } }')
    await until(() => posthouse.log.some((line) => line.includes('server.prot: unknown key')), 'the refusal is told')
    assert.equal(taken(), 3)
    assert.equal(await posthouse.stop(), 0)
  })
})
