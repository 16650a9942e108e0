/** One mailbox and two nodes: read by the one that has the lease, answered once each, whoever ends or dies. People's mailboxes are the judges. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createModelEmulator } from '@posthouse/testkit'
import { openMailboxes } from '../chaos/mailboxes.ts'
import { withMutant } from '../chaos/mutants.ts'
import { createNodes, type OneOfSeveral } from '../cluster/nodes.ts'
import { newPlace, noPostgres } from '../contracts/postgres.ts'
import { noMailServers } from '../mail/servers.ts'
import { until } from './posthouse.ts'

const PEOPLE = 3
const skip = process.env.CI === 'true' ? false : (noMailServers ?? noPostgres ?? false)

interface Status {
  readonly leases: readonly { readonly name: string; readonly node: string }[]
  readonly maybeDuplicates: number
}

describe('a mailbox of several nodes', { skip, timeout: 120_000 }, () => {
  it('is read by one node at a time; each mail has its one answer while nodes end, die and come back', async () => {
    await using mailboxes = await openMailboxes(PEOPLE)
    await using model = await createModelEmulator({ keys: 'any', models: 'any' })
    const url = await newPlace()
    await using nodes = await createNodes(['one', 'two'], () => ({
      database: { url },
      models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
      assistant: { burst: 'one-by-one' },
      channels: { desk: mailboxes.account },
    }))
    const [one, two] = nodes
    assert.ok(one && two)
    const start = (node: OneOfSeveral) => node.start(withMutant('hurried nodes'))
    for (const { folder } of nodes) writeFileSync(join(folder, 'ca.pem'), mailboxes.certificate)
    const status = async () => JSON.parse((await two.cli('status', '--json')).stdout) as Status
    const reader = async () => (await status()).leases.find(({ name }) => name === 'desk')?.node
    const texts = async () => (await mailboxes.posted()).map(({ text }) => text.trim())
    let asked = 0
    const ask = () => {
      for (let person = 0; person < PEOPLE; person++) mailboxes.say(person, ++asked)
    }
    const answered = async () => await until(async () => new Set(await texts()).size === asked, `all ${asked} mails are answered`, 30_000)

    await start(one)
    await start(two)
    ask()
    await answered()
    assert.equal(await reader(), 'one')
    ask()
    const ended = one.stop()
    await until(async () => (await reader()) === 'two', 'the other node reads')
    ask()
    assert.equal(await ended, 0)
    await answered()
    await start(one)
    ask()
    await until(() => mailboxes.waiting < PEOPLE, 'mails are being taken')
    await two.kill()
    ask()
    await until(async () => (await reader()) === 'one', 'the first one reads again')
    await answered()
    const all = await texts()
    const { maybeDuplicates } = await status()
    assert.ok(all.length - new Set(all).size <= maybeDuplicates, `${all.length} answers to ${asked} mails, ${maybeDuplicates} marked`)
    await until(() => mailboxes.waiting === 0, 'every mail is marked')
  })
})
