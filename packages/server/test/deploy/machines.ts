/**
 * Two machines of a test's own with a balancer each, as network namespaces on a bridge, and one address that wanders between them by keepalived: the
 * shipped configurations, but for addresses. Needs root.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '../journeys/posthouse.ts'
import { type Certificate, makeCertificate, render, shipped } from './balancers.ts'

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: 'pipe' }).toString()

export interface Machine {
  readonly name: string
  /** Whether the wandering address is here. */
  readonly hasAddress: boolean
  killBalancer(): Promise<void>
  killKeepalived(): Promise<void>
  startKeepalived(): Promise<void>
  startBalancer(): Promise<void>
  /** Pulls the plug of its network. */
  unplug(): void
}

export interface Machines extends AsyncDisposable {
  /** Where this side is reached by them, for the gateways to listen on. */
  readonly host: string
  /** Of the wandering address. */
  readonly url: string
  readonly machines: readonly [Machine, Machine]
  readonly certificate: Certificate
}

let runs = 0

/** @param nodes addresses of the gateways behind, as host:port; asked when the balancers start */
export async function createMachines(nodes: () => readonly [string, string]): Promise<Machines> {
  // A net of its own for every run: what is deleted may take a moment to go.
  const third = 1 + ((process.pid + runs++) % 250)
  const at = (last: number) => `10.77.${third}.${last}`
  const [bridge, host, address] = [`phb${third}`, at(254), at(10)]
  const certificate = makeCertificate(address)
  const folder = mkdtempSync(join(tmpdir(), 'posthouse-machines-'))
  const processes = new Set<ChildProcess>()
  const run = async (space: string, ...command: string[]) => {
    const child = spawn('ip', ['netns', 'exec', space, ...command], { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    processes.add(child)
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (data: Buffer) => {
        said = (said + data.toString()).slice(-5000)
      })
    child.once('exit', (code) => {
      processes.delete(child)
      if (code) process.stderr.write(`${command[0]} in ${space} ended with ${code}: ${said}\n`)
    })
    return child
  }
  const kill = async (child: ChildProcess | undefined) => {
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return
    process.kill(-child.pid, 'SIGKILL')
    await once(child, 'exit')
  }

  ip('link', 'add', bridge, 'type', 'bridge')
  ip('addr', 'add', `${host}/24`, 'dev', bridge)
  ip('link', 'set', bridge, 'up')
  const create = (last: number): Machine & { close(): Promise<void> } => {
    const space = `${bridge}m${last}`
    const inside = (...args: string[]) => ip('netns', 'exec', space, 'ip', ...args)
    ip('netns', 'add', space)
    ip('link', 'add', `${space}v`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space)
    ip('link', 'set', `${space}v`, 'master', bridge, 'up')
    inside('link', 'set', 'lo', 'up')
    inside('addr', 'add', `${at(last)}/24`, 'dev', 'eth0')
    inside('link', 'set', 'eth0', 'up')
    let balancer: ChildProcess | undefined
    let keepalived: ChildProcess | undefined
    const write = (name: string, text: string) => {
      const path = join(folder, `${last}-${name}`)
      writeFileSync(path, text)
      return path
    }
    return {
      name: space,
      get hasAddress() {
        return inside('-4', 'addr', 'show', 'dev', 'eth0').includes(`${address}/`)
      },
      async startBalancer() {
        const [one, two] = nodes()
        const config = write(
          'haproxy.cfg',
          render('haproxy/active-active.cfg', {
            '10.0.0.11:8080': one,
            '10.0.0.12:8080': two,
            '/etc/haproxy/certs/': write('certificate.pem', certificate.certificate + certificate.key),
            '/run/haproxy/admin.sock': join(folder, `${last}.sock`),
            'maxconn 20000': 'maxconn 2000',
          }),
        )
        balancer = await run(space, '/usr/sbin/haproxy', '-db', '-f', config)
      },
      async startKeepalived() {
        spawnSync('ip', ['netns', 'exec', space, 'ip', 'addr', 'del', `${address}/24`, 'dev', 'eth0'])
        const config = write(
          'keepalived.conf',
          render('keepalived/keepalived.conf', {
            '/etc/keepalived/check-ready.sh': join(shipped, 'keepalived/check-ready.sh'),
            'unicast_src_ip 10.0.0.1 ': `unicast_src_ip ${at(last)} `,
            '        10.0.0.2 ': `        ${at(3 - last)} `,
            '10.0.0.10/24  ': `${address}/24  `,
            'priority 100 ': `priority ${102 - last} `,
          }),
        )
        const files = [`--pid=${folder}/${last}.pid`, `--vrrp_pid=${folder}/${last}-vrrp.pid`]
        keepalived = await run(space, '/usr/sbin/keepalived', '--dont-fork', '--log-console', '--vrrp', '-f', config, ...files)
      },
      killBalancer: () => kill(balancer),
      async killKeepalived() {
        await kill(keepalived)
      },
      unplug: () => void ip('link', 'set', `${space}v`, 'down'),
      async close() {
        await Promise.all([kill(keepalived), kill(balancer)])
        spawnSync('ip', ['link', 'del', `${space}v`])
        ip('netns', 'del', space)
      },
    }
  }
  const machines = [create(1), create(2)] as const
  return {
    host,
    certificate,
    url: `https://${address}`,
    machines,
    async [Symbol.asyncDispose]() {
      for (const machine of machines) await machine.close()
      for (const child of processes) await kill(child)
      ip('link', 'del', bridge)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Starts both, and waits until one of them has the address. */
export async function startMachines({ machines }: Machines): Promise<void> {
  for (const machine of machines) {
    await machine.startBalancer()
    await machine.startKeepalived()
  }
  await until(() => machines.some(({ hasAddress }) => hasAddress), 'somebody has the address', 20_000)
}

/** Why this cannot be tested here, with the remedy. */
export const noMachines =
  process.getuid?.() !== 0
    ? 'network namespaces need root'
    : spawnSync('/usr/sbin/keepalived', ['--version']).error || spawnSync('ip', ['-V']).error
      ? 'there is no keepalived or no ip: apt-get install keepalived iproute2 curl'
      : undefined
