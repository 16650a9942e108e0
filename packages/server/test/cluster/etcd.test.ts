/** A real etcd, killed, emptied and closed to strangers: where the nodes are is found there as long as they live. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { announce, findNodes } from '../../src/cluster/index.ts'
import { createFetch } from '../../src/security/index.ts'
import { createPosthouse, until } from '../journeys/posthouse.ts'
import { freePorts } from '../ports.ts'
import { skipWithout } from './servers.ts'
import { silent } from './silent.ts'

const noEtcd = spawnSync('etcd', ['--version']).error ? 'there is no etcd: apt-get install etcd-server etcd-client' : undefined

/** Waits a hundredth of what it is told. */
const quick: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 100, signal) }
const prefix = '/test/nodes/'
const node = { id: 'n1', name: 'first', url: 'http://10.0.0.11:8080', version: '1.0.0', started: 1 }

interface Etcd extends AsyncDisposable {
  readonly url: string
  readonly port: number
  start(): Promise<void>
  kill(): Promise<void>
  /** Forgets everything. */
  empty(): void
  ctl(...args: string[]): string
}

async function startEtcd(): Promise<Etcd> {
  const folder = mkdtempSync(join(tmpdir(), 'posthouse-etcd-'))
  const [port = 0, between = 0] = await freePorts(2)
  const url = `http://127.0.0.1:${port}`
  const peers = `http://127.0.0.1:${between}`
  let child: ChildProcess | undefined
  const kill = async () => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  const empty = () => rmSync(join(folder, 'data'), { recursive: true, force: true })
  const start = async () => {
    const addresses = ['--listen-client-urls', url, '--advertise-client-urls', url, '--listen-peer-urls', peers]
    const cluster = ['--initial-advertise-peer-urls', peers, '--initial-cluster', `default=${peers}`]
    child = spawn('etcd', ['--data-dir', join(folder, 'data'), ...addresses, ...cluster], { stdio: 'ignore' })
    await until(
      () => spawnSync('etcdctl', ['--endpoints', url, 'endpoint', 'health', '--user', 'root:pass word']).status === 0,
      'etcd runs',
    )
  }
  await start()
  return {
    url,
    port,
    start,
    kill,
    empty,
    ctl: (...args) => execFileSync('etcdctl', ['--endpoints', url, ...args], { stdio: 'pipe' }).toString(),
    async [Symbol.asyncDispose]() {
      await kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

describe('etcd', { skip: skipWithout(noEtcd), timeout: 60_000 }, () => {
  it('is there', () => assert.equal(noEtcd, undefined))

  it('knows a node for as long as it lives, also after it was killed and after it forgot everything', async () => {
    await using etcd = await startEtcd()
    await using client = createFetch()
    const options = { endpoint: etcd.url, prefix, fetch: client.fetch }
    const found = () => findNodes(options).catch(() => [])
    const announced = announce(node, { ...options, clock: quick, ...silent })
    await until(() => announced.problem === undefined, 'announced')
    assert.deepEqual(await found(), [node])
    await etcd.kill()
    await until(() => announced.problem === 'unreachable', 'its absence is noticed')
    await etcd.start()
    await until(() => announced.problem === undefined, 'announced again')
    assert.deepEqual(await found(), [node])
    await etcd.kill()
    etcd.empty()
    await etcd.start()
    await until(async () => (await found()).length === 1, 'announced to one that forgot us')
    assert.match(etcd.ctl('lease', 'list'), /found 1 leases/)
    // What nobody renews goes by itself.
    const [, lease = ''] = /leases\n(\w+)/.exec(etcd.ctl('lease', 'list')) ?? []
    assert.match(etcd.ctl('lease', 'timetolive', lease, '--keys'), /granted with TTL\(30s\).*attached keys\(\[\/test\/nodes\/n1\]\)/)
    await announced[Symbol.asyncDispose]()
    assert.deepEqual(await found(), [])
    assert.match(etcd.ctl('lease', 'list'), /found 0 leases/)
  })

  it('lets in who has the password, also when it forgot the token', async () => {
    await using etcd = await startEtcd()
    etcd.ctl('user', 'add', 'root:pass word')
    etcd.ctl('user', 'grant-role', 'root', 'root')
    etcd.ctl('auth', 'enable')
    await using client = createFetch()
    const options = { endpoint: `http://root:pass%20word@127.0.0.1:${etcd.port}`, prefix, fetch: client.fetch }
    const announced = announce(node, { ...options, clock: quick, ...silent })
    await until(() => announced.problem === undefined, 'announced')
    await etcd.kill()
    await etcd.start()
    await until(() => announced.problem === 'unreachable' || announced.problem === undefined, 'asked')
    await until(async () => announced.problem === undefined && (await findNodes(options)).length === 1, 'announced with a new token')
    await announced[Symbol.asyncDispose]()
    const stranger = announce(node, { ...options, endpoint: `http://root:wrong@127.0.0.1:${etcd.port}`, clock: quick, ...silent })
    await until(() => stranger.problem === 'refused', 'refused')
    await stranger[Symbol.asyncDispose]()
    await assert.rejects(findNodes({ ...options, endpoint: etcd.url }), /etcd answered 4\d\d/)
  })

  it('is told of a gateway, and of its end; without etcd the gateway works', async () => {
    await using etcd = await startEtcd()
    await using client = createFetch()
    await using posthouse = createPosthouse({ discovery: { endpoint: etcd.url, prefix, advertise: 'http://10.0.0.12:8080' } })
    await posthouse.start()
    const found = () => findNodes({ endpoint: etcd.url, prefix, fetch: client.fetch })
    await until(async () => (await found()).length === 1, 'the gateway is announced')
    assert.equal((await found())[0]?.url, 'http://10.0.0.12:8080')
    assert.match((await posthouse.cli('doctor')).stdout, /nodes announced: 1/)
    await posthouse.stop()
    assert.deepEqual(await found(), [])
    await etcd.kill()
    await posthouse.start()
    const ready = await fetch(`${posthouse.url}/readyz`)
    assert.equal(ready.status, 200)
    assert.deepEqual(((await ready.json()) as { degraded: unknown }).degraded, [{ server: 'discovery', problem: 'unreachable' }])
    await posthouse.stop()
  })
})
