/** The balancers that deploy/ has configurations for, as processes of their own: what is shipped is what runs here, but for addresses and paths. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '../journeys/posthouse.ts'

export const shipped = join(import.meta.dirname, '../../../../deploy')
const HAPROXY = '/usr/sbin/haproxy'
const NGINX = '/usr/sbin/nginx'

/** Why one of them cannot be tested here, with the remedy. */
export const noBalancers = [HAPROXY, NGINX].some((program) => spawnSync(program, ['-v']).error)
  ? 'there is no HAProxy or no nginx: apt-get install haproxy nginx-light'
  : undefined

export const balancerNames = ['haproxy/active-active', 'haproxy/primary-standby', 'nginx'] as const
export type BalancerName = (typeof balancerNames)[number]

export interface Balancer extends AsyncDisposable {
  readonly url: string
  readonly plainUrl: string
  readonly said: string
  /** How many nodes it takes for ready; nginx asks none, but has lines to those that it uses. */
  ready(): Promise<number>
  kill(): Promise<void>
  start(): Promise<void>
}

/** Replaces each of what stands in a shipped file; what does not stand there is a mistake. */
export function render(file: string, replacements: Readonly<Record<string, string>>): string {
  let text = readFileSync(join(shipped, file), 'utf8')
  for (const [given, own] of Object.entries(replacements)) {
    if (!text.includes(given)) throw new Error(`deploy/${file} has no ${given}`)
    text = text.replaceAll(given, own)
  }
  return text
}

export interface Certificate {
  /** PEM: the certificate, which is its own authority. */
  readonly certificate: string
  readonly key: string
}

/** For localhost, loopback and one more address. */
export function makeCertificate(host = '127.0.0.1'): Certificate {
  const wish = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost']
  const names = ['-addext', `subjectAltName=DNS:localhost,IP:127.0.0.1,IP:${host}`]
  const made = execFileSync('openssl', ['req', ...wish, ...names, '-keyout', '-', '-out', '-'], { stdio: 'pipe' }).toString()
  const [key = '', certificate = ''] = [/-----BEGIN P[\s\S]*?-----END P.*-----\n/, /-----BEGIN C[\s\S]*?-----END C.*-----\n/].map(
    (part) => part.exec(made)?.[0] ?? '',
  )
  return { certificate, key }
}

export interface BalancerOptions {
  readonly name: BalancerName
  readonly certificate: Certificate
  /** Addresses of both nodes, as host:port. */
  readonly nodes: readonly [string, string]
  readonly ports: readonly [plain: number, secure: number]
  readonly host?: string
}

/** Starts it in the foreground. */
export async function startBalancer({ name, certificate, nodes, ports, host = '127.0.0.1' }: BalancerOptions): Promise<Balancer> {
  const folder = mkdtempSync(join(tmpdir(), 'posthouse-balancer-'))
  writeFileSync(join(folder, 'key'), certificate.key, { mode: 0o600 })
  writeFileSync(join(folder, 'cert'), certificate.certificate)
  const [plain, secure] = ports.map((port) => `${host}:${port}`)
  const [one, two] = nodes
  const own = { '10.0.0.11:8080': one, '10.0.0.12:8080': two }
  const command =
    name === 'nginx' ? nginx(folder, own, [plain ?? '', secure ?? '']) : haproxy(name, folder, own, [plain ?? '', secure ?? ''])
  let child: ChildProcess | undefined
  let said = ''
  const start = async () => {
    const [program = '', ...args] = command
    const started = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    child = started
    for (const stream of [started.stdout, started.stderr])
      stream.on('data', (data: Buffer) => {
        said = (said + data.toString()).slice(-20_000)
      })
    await until(() => started.exitCode !== null || listens(host, ports[1]), `${name} listens`)
    if (started.exitCode !== null) throw new Error(`${name} ended with ${started.exitCode}: ${said}`)
  }
  const kill = async () => {
    if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return
    // With its workers, as a machine would.
    process.kill(-child.pid, 'SIGKILL')
    await once(child, 'exit')
  }
  await start()
  return {
    url: `https://${secure}`,
    plainUrl: `http://${plain}`,
    get said() {
      return said
    },
    ready: async () => (name === 'nginx' ? nodes.filter(isUsed).length : await countReady(join(folder, 'admin.sock'))),
    start,
    kill,
    async [Symbol.asyncDispose]() {
      await kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function haproxy(name: BalancerName, folder: string, own: Record<string, string>, [plain, secure]: [string, string]): string[] {
  mkdirSync(join(folder, 'certs'))
  writeFileSync(join(folder, 'certs/own.pem'), readFileSync(join(folder, 'cert'), 'utf8') + readFileSync(join(folder, 'key'), 'utf8'))
  const config = join(folder, 'haproxy.cfg')
  const paths = { '/etc/haproxy/certs/': join(folder, 'certs/'), '/run/haproxy/admin.sock': join(folder, 'admin.sock') }
  writeFileSync(
    config,
    render(`${name}.cfg`, {
      ...own,
      ...paths,
      'maxconn 20000': 'maxconn 2000',
      'bind :80 ': `bind ${plain} `,
      'bind :443 ': `bind ${secure} `,
    }),
  )
  return [HAPROXY, '-db', '-f', config]
}

function nginx(folder: string, own: Record<string, string>, [plain, secure]: [string, string]): string[] {
  const certificates = { '/etc/nginx/certs/posthouse.pem': join(folder, 'cert'), '/etc/nginx/certs/posthouse.key': join(folder, 'key') }
  const addresses = { 'listen 80;': `listen ${plain};`, 'listen 443 ': `listen ${secure} ` }
  writeFileSync(join(folder, 'posthouse.conf'), render('nginx/posthouse.conf', { ...own, ...certificates, ...addresses }))
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder}/${kind};`).join('\n')
  const main = `daemon off; pid ${folder}/pid; error_log stderr warn; events { worker_connections 4096; }
http { access_log off; ${temporary} include ${folder}/posthouse.conf; }`
  writeFileSync(join(folder, 'nginx.conf'), process.getuid?.() === 0 ? `user root; ${main}` : main)
  return [NGINX, '-p', folder, '-e', 'stderr', '-c', join(folder, 'nginx.conf')]
}

/** Whether somebody has an open line to the address. */
function isUsed(address: string): boolean {
  const port = Number(address.split(':')[1]).toString(16).toUpperCase().padStart(4, '0')
  return new RegExp(`^ *\\d+: \\S+ \\S+:${port} 01 `, 'm').test(readFileSync('/proc/net/tcp', 'utf8'))
}

/** Asks HAProxy over its socket. */
async function countReady(path: string): Promise<number> {
  const socket = connect(path)
  socket.end('show stat\n')
  let said = ''
  for await (const chunk of socket) said += String(chunk)
  return said.split('\n').filter((line) => /^posthouse,node\d,/.test(line) && line.split(',')[17] === 'UP').length
}

function listens(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host)
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}
