/** Real mail servers for tests: Debian's Dovecot (IMAP) and Exim (SMTP), each in a folder of its own, on loopback, without privileges. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts } from '../ports.ts'

const DOVECOT = process.env.DOVECOT ?? '/usr/sbin/dovecot'
const EXIM = process.env.EXIM ?? '/usr/sbin/exim4'

/** Why no test with real mail servers can run here, with the remedy; undefined when they can. */
export const noMailServers =
  existsSync(DOVECOT) && existsSync(EXIM)
    ? undefined
    : `there is no Dovecot at ${DOVECOT} or no Exim at ${EXIM}: apt-get install dovecot-imapd exim4-daemon-light`

/** Neither server wants to be root: as root they are started as nobody. */
const owner: { uid?: number; gid?: number } = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
const user = owner.uid !== undefined ? 'nobody' : execFileSync('id', ['-un']).toString().trim()
const group = owner.uid !== undefined ? 'nogroup' : execFileSync('id', ['-gn']).toString().trim()

const PASSWORD = 'correct horse'

export interface Certificates {
  /** PEM of the authority. */
  readonly ca: string
  readonly certificate: string
  readonly key: string
}

export interface MailServers extends AsyncDisposable {
  readonly imap: { readonly port: number; readonly tlsPort: number }
  readonly smtp: { readonly port: number; readonly tlsPort: number }
  readonly password: string
  readonly ca: string
  /** Puts a mail into a person's mailbox at once, as a delivery would. */
  deliver(address: string, mail: string | Buffer, mailbox?: string): void
  /** Mails of a mailbox as their bytes, in the order of their delivery. */
  mails(address: string, mailbox?: string): readonly { readonly bytes: Buffer; readonly flags: string }[]
  /** Mails in the inbox that nobody marked as seen. */
  unseen(address: string): number
  /** Takes the marks of the mail that was delivered last away, as if it had not been read. */
  unread(address: string): void
  stopImap(): Promise<void>
  startImap(options?: { readonly idle?: boolean; readonly forgetUids?: boolean }): Promise<void>
  /** Gives a mailbox another password and ends its connections. */
  revoke(address: string): void
}

export interface MailOptions {
  readonly addresses: readonly string[]
  /** Where an access token is looked up (Dovecot's oauth2 passdb). */
  readonly tokenInfo?: string
  readonly idle?: boolean
}

/** Starts both. Exim takes mail for the addresses into the mailboxes that Dovecot shows. */
export async function startMailServers({ addresses, tokenInfo, idle = true }: MailOptions): Promise<MailServers> {
  const folder = mkdtempSync(join(tmpdir(), 'posthouse-mail-'))
  const own = (path: string) => {
    if (owner.uid !== undefined) chownSync(path, owner.uid, owner.uid)
    return path
  }
  chmodSync(own(folder), 0o755)
  const make = (path: string) => {
    mkdirSync(path, { recursive: true })
    return own(path)
  }
  const write = (name: string, text: string, mode = 0o644) => {
    const path = join(folder, name)
    writeFileSync(path, text, { mode })
    return own(path)
  }
  for (const name of ['run', 'state', 'mail', 'spool', 'log']) make(join(folder, name))
  const certificates = makeCertificates(folder)
  own(join(folder, 'server.key'))
  const [imap = 0, imaps = 0, smtp = 0, smtps = 0] = await freePorts(4)
  const passwords = new Map(addresses.map((address) => [address, PASSWORD]))
  const writePasswords = () => write('users', [...passwords].map(([address, password]) => `${address}:{PLAIN}${password}\n`).join(''))
  writePasswords()

  const dovecotConfig = (withIdle: boolean) => `
base_dir = ${folder}/run
state_dir = ${folder}/state
log_path = ${folder}/log/dovecot.log
info_log_path = ${folder}/log/dovecot.log
default_internal_user = ${user}
default_internal_group = ${group}
default_login_user = ${user}
instance_name = ${folder.replaceAll(/\W/g, '')}
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <${folder}/server.pem
ssl_key = <${folder}/server.key
disable_plaintext_auth = no
auth_mechanisms = plain login${tokenInfo ? ' xoauth2' : ''}
auth_failure_delay = 0
mail_location = maildir:${folder}/mail/%u
mailbox_list_index = no
maildir_stat_dirs = yes
first_valid_uid = 1
mail_max_userip_connections = 100
${withIdle ? '' : 'imap_capability = IMAP4rev1 SASL-IR LITERAL+ UIDPLUS MOVE'}
imap_idle_notify_interval = 10 secs
namespace inbox {
  inbox = yes
  separator = /
  mailbox Sent {
    auto = create
  }
  mailbox Done {
    auto = create
  }
}
passdb {
  driver = passwd-file
  args = ${folder}/users
}
${
  tokenInfo
    ? `passdb {
  driver = oauth2
  mechanisms = xoauth2
  args = ${write('oauth2.conf', `tokeninfo_url = ${tokenInfo}?access_token=\nusername_attribute = email\n`)}
}`
    : ''
}
userdb {
  driver = static
  args = uid=${user} gid=${group} home=${folder}/mail/%u
}
service imap-login {
  chroot =
  inet_listener imap {
    port = ${imap}
  }
  inet_listener imaps {
    port = ${imaps}
    ssl = yes
  }
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
}
service imap {
  process_limit = 100
}
`
  const eximConfig = `
primary_hostname = mail.test
exim_user = ${user}
exim_group = ${group}
spool_directory = ${folder}/spool
log_file_path = ${folder}/log/exim-%slog
pid_file_path = ${folder}/run/exim.pid
daemon_smtp_ports = ${smtp} : ${smtps}
tls_on_connect_ports = ${smtps}
local_interfaces = 127.0.0.1
tls_certificate = ${folder}/server.pem
tls_privatekey = ${folder}/server.key
tls_advertise_hosts = *
auth_advertise_hosts = \${if eq{$tls_in_cipher}{}{}{*}}
domainlist local_domains = ${[...new Set(addresses.map((address) => address.split('@')[1]))].join(' : ')}
never_users =
acl_smtp_rcpt = check_rcpt
acl_smtp_data = accept
queue_run_max = 5
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 50
smtp_accept_keepalive = false
smtp_accept_queue_per_connection = 0
trusted_users = ${user}
begin acl
check_rcpt:
  defer message = 4.7.1 try again later
    local_parts = busy
  warn authenticated = *
    add_header = :at_start:Authentication-Results: mail.test; auth=pass; dmarc=pass header.from=\${domain:$authenticated_id}
  accept domains = +local_domains
    verify = recipient
    authenticated = *
  deny message = 5.7.1 authentication required
    !authenticated = *
  deny message = 5.1.1 no such user
begin routers
local:
  driver = accept
  domains = +local_domains
  address_data = \${lookup {\${lc:$local_part}@\${lc:$domain}} dsearch,filter=dir {${folder}/mail} {$value} fail}
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = ${folder}/mail/$address_data
  maildir_format
  create_directory = false
  delivery_date_add
  envelope_to_add
  return_path_add
  user = ${user}
  group = ${group}
begin retry
* * F,1h,1m
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = \${if eq{$auth3}{${PASSWORD}}}
  server_set_id = $auth2
`
  for (const address of addresses) {
    for (const mailbox of ['', '.Sent', '.Done']) {
      make(join(folder, 'mail', address))
      for (const part of ['cur', 'new', 'tmp']) make(join(make(join(folder, 'mail', address, mailbox)), part))
    }
  }

  let dovecot: ChildProcess | undefined
  const startImap: MailServers['startImap'] = async ({ idle: withIdle = idle, forgetUids = false } = {}) => {
    if (forgetUids) {
      for (const address of addresses) {
        for (const name of readdirSync(join(folder, 'mail', address))) {
          if (name.startsWith('dovecot')) rmSync(join(folder, 'mail', address, name), { recursive: true })
        }
        // The next UIDVALIDITY is made of the time in seconds.
        write(`mail/${address}/dovecot-uidvalidity`, ((Date.now() / 1000 + 1000) | 0).toString(16))
      }
    }
    dovecot = spawn(DOVECOT, ['-F', '-c', write('dovecot.conf', dovecotConfig(withIdle))], {
      ...owner,
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    await listening(imap, dovecot)
  }
  const stopImap = async () => await ended(dovecot)
  let exim: ChildProcess | undefined
  const startSmtp = async () => {
    const args = ['-bdf', '-q10s', '-C', write('exim.conf', eximConfig)]
    exim = spawn(EXIM, args, { ...owner, detached: true, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
    await listening(smtp, exim)
  }
  try {
    await Promise.all([startImap(), startSmtp()])
  } catch (error) {
    await Promise.all([ended(dovecot), ended(exim)])
    const log = join(folder, 'log/dovecot.log')
    throw new Error(`${(error as Error).message}\n${existsSync(log) ? readFileSync(log, 'utf8') : ''}`)
  }

  const boxOf = (address: string, mailbox = '') => join(folder, 'mail', address, mailbox === '' ? '' : `.${mailbox}`)
  const files = (address: string, mailbox?: string) =>
    ['cur', 'new']
      .flatMap((part) =>
        readdirSync(join(boxOf(address, mailbox), part)).map((name) => ({ part, name, path: join(boxOf(address, mailbox), part, name) })),
      )
      .sort((a, b) => orderOf(a.name) - orderOf(b.name))
  let count = 0
  return {
    imap: { port: imap, tlsPort: imaps },
    smtp: { port: smtp, tlsPort: smtps },
    password: PASSWORD,
    ca: certificates.ca,
    deliver(address, mail, mailbox) {
      const name = `${Math.floor(Date.now() / 1000)}.M${String(++count).padStart(6, '0')}P1.test`
      const path = own(write(`mail/delivering-${count}`, ''))
      writeFileSync(path, typeof mail === 'string' ? mail.replace(/\r?\n/g, '\r\n') : mail)
      renameSync(path, join(boxOf(address, mailbox), 'new', name))
    },
    mails: (address, mailbox) =>
      files(address, mailbox).flatMap(({ name, path }) => {
        try {
          return [{ bytes: readFileSync(path), flags: name.split(':2,')[1] ?? '' }]
        } catch {
          // Renamed since it was listed: it is there under its new name the next time.
          return []
        }
      }),
    unseen: (address) => files(address).filter(({ name }) => !/:2,.*S/.test(name)).length,
    unread(address) {
      const last = files(address).at(-1)
      if (last) renameSync(last.path, join(boxOf(address), 'cur', `${last.name.split(':2,')[0]}:2,`))
    },
    stopImap,
    startImap,
    revoke(address) {
      passwords.set(address, 'another')
      writePasswords()
      const doveadm = (...args: string[]) => spawnSync('doveadm', ['-c', join(folder, 'dovecot.conf'), ...args], owner).status
      // Dovecot looks at the file once in a second.
      while (doveadm('auth', 'test', address, PASSWORD) === 0);
      doveadm('kick', address)
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([ended(dovecot), ended(exim)])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Names of mails begin with the second of their delivery, then count (ours, Dovecot's) or name the microsecond (Exim's). */
function orderOf(name: string): number {
  const [, second = '0', count = '0'] = /^(\d+)\.[MH](\d+)/.exec(name) ?? []
  return Number(second) * 1e7 + Number(count)
}

/** An authority of the test's own, and a certificate of it for localhost. */
function makeCertificates(folder: string): Certificates {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '2',
    '-subj',
    '/CN=Test authority',
    '-keyout',
    'ca.key',
    '-out',
    'ca.pem',
  )
  openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost', '-keyout', 'server.key', '-out', 'server.csr')
  writeFileSync(join(folder, 'names'), 'subjectAltName=DNS:localhost,IP:127.0.0.1\n')
  openssl(
    'x509',
    '-req',
    '-in',
    'server.csr',
    '-CA',
    'ca.pem',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-days',
    '2',
    '-extfile',
    'names',
    '-out',
    'server.pem',
  )
  const read = (name: string) => readFileSync(join(folder, name), 'utf8')
  return { ca: read('ca.pem'), certificate: read('server.pem'), key: read('server.key') }
}

/** Resolves when the server greets. */
async function listening(port: number, child: ChildProcess): Promise<void> {
  let said = ''
  child.stderr?.on('data', (data: Buffer) => {
    said += data.toString()
  })
  for (const end = performance.now() + 10_000; ; ) {
    if (child.exitCode !== null || performance.now() > end) throw new Error(`a mail server did not start (${child.exitCode}): ${said}`)
    const greets = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1')
      socket.once('data', () => resolve(true))
      socket.once('error', () => resolve(false))
      socket.once('close', () => resolve(false))
      socket.once('data', () => socket.destroy())
    })
    if (greets) return
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
}

/** Ends a server with all of its processes: its group, since one that is stuck would keep the port. */
async function ended(child: ChildProcess | undefined): Promise<void> {
  if (!child?.pid || child.exitCode !== null || child.signalCode !== null) return
  const { pid } = child
  child.kill('SIGTERM')
  const late = setTimeout(() => child.kill('SIGKILL'), 500)
  await once(child, 'exit')
  clearTimeout(late)
  for (let signal: NodeJS.Signals | 0 = 'SIGKILL'; groupTakes(pid, signal); signal = 0)
    await new Promise((resolve) => setTimeout(resolve, 10))
}

/** Whether there is still somebody in the group to send a signal to. */
function groupTakes(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-group, signal)
  } catch {
    return false
  }
}
