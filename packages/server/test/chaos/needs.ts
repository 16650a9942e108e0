/** What rows need of a machine. What is missing is told by name, with how to get it; nothing is silently green. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { noOwnRabbit } from '../cluster/own-rabbit.ts'
import { noServer } from '../contracts/private-postgres.ts'
import { noBalancers } from '../deploy/balancers.ts'
import { noMachines } from '../deploy/machines.ts'
import { noMailServers } from '../mail/servers.ts'

export type Need =
  | 'linux'
  | 'root'
  | 'strace'
  | 'faketime'
  | 'mounts'
  | 'mail'
  | 'haproxy'
  | 'keepalived'
  | 'postgres'
  | 'rabbitmq'
  | 'redis'

const FAKETIME = ['/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1', '/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1']

/** The library that shifts a process's clock. */
export const faketimeLibrary = FAKETIME.find((path) => existsSync(path))

const works = (command: string, ...args: string[]) => spawnSync(command, args, { stdio: 'ignore', timeout: 5000 }).status === 0
const isRoot = process.getuid?.() === 0

const needs: Readonly<Record<Need, { readonly met: () => boolean; readonly hint: string }>> = {
  linux: { met: () => process.platform === 'linux', hint: 'Linux' },
  root: { met: () => isRoot, hint: 'root' },
  strace: { met: () => works('strace', '-o', '/dev/null', 'true'), hint: 'strace that may trace (apt-get install strace)' },
  faketime: { met: () => faketimeLibrary !== undefined, hint: 'libfaketime (apt-get install faketime)' },
  mail: { met: () => noMailServers === undefined, hint: 'mail servers (apt-get install dovecot-imapd exim4-daemon-light)' },
  haproxy: { met: () => noBalancers === undefined, hint: 'HAProxy (apt-get install haproxy nginx-light)' },
  keepalived: {
    met: () => noMachines === undefined,
    hint: 'keepalived and network namespaces (root; apt-get install keepalived haproxy iproute2 curl)',
  },
  postgres: { met: () => noServer === undefined, hint: 'PostgreSQL to start (apt-get install postgresql)' },
  rabbitmq: { met: () => noOwnRabbit === undefined, hint: 'RabbitMQ to start (apt-get install rabbitmq-server)' },
  redis: { met: () => works('redis-server', '--version'), hint: 'Redis to start (apt-get install redis-server)' },
  mounts: {
    met: () => isRoot && works('unshare', '-m', 'mount', '-t', 'tmpfs', 'none', '/mnt'),
    hint: 'root that may mount (in a container: --privileged)',
  },
}

/** What of these this machine has not, in words. */
export function missing(wanted: readonly Need[] = []): readonly string[] {
  return wanted.filter((need) => !needs[need].met()).map((need) => needs[need].hint)
}
