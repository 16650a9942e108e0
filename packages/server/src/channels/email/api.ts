/**
 * IMAP, SMTP and OAuth2, as the channel needs them. The libraries are loaded when an account opens. Every failure is thrown (the IMAP library
 * answers false at times), nothing is tried twice (the SMTP library's own pool would), and no address of a person is in an error.
 */
import { Readable } from 'node:stream'
import { DeliveryError, type Fetch, FetchError, type KeyValue, PosthouseError } from '@posthouse/contract'
import type { FetchMessageObject, ImapFlow, ImapFlowOptions, MessageStructureObject, SearchObject } from 'imapflow'
import type SMTPConnection from 'nodemailer/lib/smtp-connection'
import { digest, type FileHandle, type Head, MOST_HEADER, MOST_TEXT } from './receive.ts'

export interface Server {
  readonly host: string
  readonly port: number
  readonly security: 'tls' | 'starttls' | 'none'
  readonly user: string
  /** Extra authority of certificates, PEM. */
  readonly ca?: string | undefined
  /** @throws DeliveryError `auth` */
  credential(): Promise<Credential>
}
export type Credential = { readonly password: string } | { readonly token: string }

const CONNECT_TIMEOUT = 15_000
/** Longer than the time between two signs of life. */
const SILENCE = 90_000
const CHUNK = 512 * 1024
/** How long a command may go on after the account was closed. */
const LAST_WORDS = 3000

const tlsOf = ({ ca }: Server) => ({ minVersion: 'TLSv1.2' as const, ...(ca === undefined ? {} : { ca }) })
/** What a server says names people at times. */
export const withoutAddresses = (text: string) => text.replace(/[^\s<>"':;,()@]+@[^\s<>"':;,()@]+/g, '<address>').slice(0, 500)

// ---- IMAP -------------------------------------------------------------------------------------------------------------

export interface Mailbox extends AsyncDisposable {
  readonly validity: string
  /** UIDs without the flag, the oldest first; by the server's calendar also of the days before `since`. */
  waiting(flag: string, since: number): Promise<readonly number[]>
  heads(uids: readonly number[]): Promise<readonly Head[]>
  /** Undefined when the mail is gone. @throws Unreadable when the server or the library cannot take it apart. */
  structure(uid: number): Promise<MessageStructureObject | undefined>
  /** The first bytes of parts, encoded as they are. */
  texts(uid: number, parts: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>>
  flag(uids: readonly number[], flags: readonly string[]): Promise<void>
  move(uids: readonly number[], to: string): Promise<void>
  find(messageId: string): Promise<number | undefined>
  download(uid: number, part: string): Promise<AsyncIterable<Uint8Array> | undefined>
  append(mail: Buffer): Promise<void>
  /** Until something changes by IDLE or `idle` milliseconds; without it (not wanted, not there) `poll` milliseconds. Then the server has answered. */
  wait(time: { readonly idle: number | undefined; readonly poll: number }, signal: AbortSignal): Promise<void>
}

/** This mail cannot be taken apart, and the connection still stands. */
export class Unreadable extends Error {}

/** Signs in and opens a mailbox, until `signal` fires. @throws DeliveryError `auth`, `not-found`, `transient` */
export async function openMailbox(
  server: Server,
  path: string,
  { readOnly = false, signal }: { readonly readOnly?: boolean; readonly signal?: AbortSignal } = {},
): Promise<Mailbox> {
  const client = await connectImap(server, signal)
  // What is under way may end; a server that does not answer must not hold us.
  const close = () => void setTimeout(() => client.close(), LAST_WORDS).unref()
  if (signal?.aborted) client.close()
  signal?.addEventListener('abort', close, { once: true })
  client.on('close', () => signal?.removeEventListener('abort', close))
  try {
    const { uidValidity } = await client.mailboxOpen(path, { readOnly })
    return mailboxOn(client, path, String(uidValidity))
  } catch (error) {
    client.close()
    throw imapError(error, (error as { mailboxMissing?: boolean }).mailboxMissing ? 'not-found' : 'transient')
  }
}

async function connectImap(server: Server, signal: AbortSignal | undefined): Promise<ImapFlow> {
  const credential = await server.credential()
  const { ImapFlow: Client } = await import('imapflow')
  const options: ImapFlowOptions = {
    host: server.host,
    port: server.port,
    secure: server.security === 'tls',
    doSTARTTLS: server.security === 'starttls',
    tls: tlsOf(server),
    auth: { user: server.user, ...('token' in credential ? { accessToken: credential.token } : { pass: credential.password }) },
    clientInfo: { name: 'Posthouse' },
    logger: false,
    disableAutoIdle: true,
    disableBinary: true,
    disableCompression: true,
    connectionTimeout: CONNECT_TIMEOUT,
    greetingTimeout: CONNECT_TIMEOUT,
    socketTimeout: SILENCE,
    // Nothing that we ask for is larger; what a hostile mail makes of it must not fill the memory.
    maxLineLength: 4 * 1024 * 1024,
    maxLiteralSize: 8 * 1024 * 1024,
    maxResponseSize: 16 * 1024 * 1024,
  }
  const client = new Client(options)
  // It is told by the command that was under way; without a listener it would end the process.
  client.on('error', () => undefined)
  const close = () => client.close()
  if (signal?.aborted) throw new DeliveryError('transient', 'IMAP: stopped')
  signal?.addEventListener('abort', close, { once: true })
  try {
    await client.connect()
    return client
  } catch (error) {
    client.close()
    const { authenticationFailed, serverResponseCode } = error as { authenticationFailed?: boolean; serverResponseCode?: string }
    throw imapError(error, authenticationFailed && serverResponseCode !== 'UNAVAILABLE' ? 'auth' : 'transient')
  } finally {
    signal?.removeEventListener('abort', close)
  }
}

function imapError(error: unknown, kind: 'auth' | 'not-found' | 'transient'): DeliveryError {
  if (error instanceof DeliveryError) return error
  const { message, responseText, response } = error as { message: string; responseText?: string; response?: unknown }
  const said = responseText ?? (typeof response === 'string' ? response : '')
  return new DeliveryError(kind, withoutAddresses(`IMAP: ${message}${said ? `: ${said}` : ''}`))
}

function mailboxOn(client: ImapFlow, path: string, validity: string): Mailbox {
  let news = false
  let wake = () => {}
  const alert = () => {
    news = true
    wake()
  }
  client.on('exists', alert)
  client.on('close', alert)
  /** A failure, or false where the library hides one, is an error here. */
  const done = async <T>(what: string, work: Promise<T | false>): Promise<T> => {
    let result: T | false
    try {
      result = await work
    } catch (error) {
      throw imapError(error, 'transient')
    }
    if (result === false || !client.usable) throw new DeliveryError('transient', `IMAP: ${what} failed`)
    return result
  }
  const search = (query: SearchObject) => done('the search', client.search(query, { uid: true }) as Promise<number[] | false>)
  const one = async (uid: number, query: Parameters<ImapFlow['fetchOne']>[1]) => {
    try {
      return (await client.fetchOne(String(uid), query, { uid: true })) || undefined
    } catch (error) {
      // The connection stands, so it is this mail.
      if (client.usable) throw new Unreadable(withoutAddresses((error as Error).message))
      throw imapError(error, 'transient')
    }
  }
  return {
    validity,
    async waiting(flag, since) {
      news = false
      const unseen: SearchObject = flag === '\\Seen' ? { seen: false } : flag === '\\Answered' ? { answered: false } : { unKeyword: flag }
      // A day earlier: the date of a SEARCH has no zone.
      return await search({ ...unseen, deleted: false, draft: false, since: new Date(since - 86_400_000) })
    },
    async heads(uids) {
      const query = { uid: true, internalDate: true, bodyParts: [{ key: 'header', start: 0, maxLength: MOST_HEADER + 1 }] }
      const found: FetchMessageObject[] = await done('the fetch', client.fetchAll(uids.join(','), query, { uid: true }))
      return found
        .map(({ uid, internalDate, headers }) => {
          const at = new Date(internalDate ?? Number.NaN).getTime()
          return { uid, arrivedAt: Number.isFinite(at) ? at : Date.now(), header: headers ?? new Uint8Array() }
        })
        .sort((a, b) => a.uid - b.uid)
    },
    async structure(uid) {
      const found = (await one(uid, { uid: true, bodyStructure: true }))?.bodyStructure
      // The library leaves out what it cannot parse, as if the mail were gone.
      if (!found && (await one(uid, { uid: true }))) throw new Unreadable('its structure cannot be parsed')
      return found
    },
    async texts(uid, parts) {
      if (parts.length === 0) return new Map()
      const bodyParts = parts.map((key) => ({ key, start: 0, maxLength: MOST_TEXT }))
      return (await one(uid, { uid: true, bodyParts }))?.bodyParts ?? new Map()
    },
    async flag(uids, flags) {
      await done(`setting ${flags.join(' ')} (does the server keep it?)`, client.messageFlagsAdd(uids.join(','), [...flags], { uid: true }))
    },
    async move(uids, to) {
      await done(`moving to ${to}`, client.messageMove(uids.join(','), to, { uid: true }))
    },
    find: async (messageId) => (await search({ header: { 'message-id': messageId } })).at(-1),
    async download(uid, part) {
      const { content } = await client.download(String(uid), part, { uid: true, chunkSize: CHUNK }).catch((error: unknown) => {
        throw imapError(error, 'transient')
      })
      return content
    },
    async append(mail) {
      await done('the append', client.append(path, mail, ['\\Seen']))
    },
    async wait({ idle, poll }, signal) {
      if (!news && !signal.aborted && client.usable) {
        const idles = idle !== undefined && client.capabilities.has('IDLE')
        const idling = idles ? client.idle() : undefined
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, idles ? idle : poll)
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
          signal.addEventListener('abort', wake, { once: true })
          if (news) wake()
        })
        signal.removeEventListener('abort', wake)
        idling?.catch(() => undefined)
      }
      // It ends the IDLE, and only an answer says that the server is there.
      if (!signal.aborted) await done('the connection', client.noop() as unknown as Promise<boolean>)
    },
    async [Symbol.asyncDispose]() {
      const late = setTimeout(() => client.close(), 2000)
      await client.logout().catch(() => undefined)
      clearTimeout(late)
      client.close()
    },
  }
}

/** A file's bytes, over a connection of its own, so that receiving goes on. @throws DeliveryError, PosthouseError `too-large` */
export async function* fetchFile(server: Server, paths: readonly string[], file: FileHandle, limit: number): AsyncGenerator<Uint8Array> {
  for (const path of paths) {
    await using mailbox = await openMailbox(server, path, { readOnly: true })
    // Another UIDVALIDITY or another mailbox: the UID means another mail.
    const here = path === paths[0] && mailbox.validity === file.validity ? file.uid : undefined
    const uid = here ?? (file.messageId ? await mailbox.find(file.messageId) : undefined)
    const content = uid === undefined ? undefined : await mailbox.download(uid, file.part)
    if (!content) continue
    let size = 0
    for await (const chunk of content) {
      size += chunk.length
      if (size > limit) throw new PosthouseError('too-large', `more than ${limit} bytes`)
      yield chunk
    }
    return
  }
  throw new DeliveryError('not-found', 'the mail is not in the mailbox any more')
}

// ---- SMTP -------------------------------------------------------------------------------------------------------------

/** A mail that was not taken, or of which that is not known. */
export class SmtpError extends Error {
  /** The server's code; undefined when it did not answer. */
  readonly code: number | undefined
  /** At which command. */
  readonly command: string
  /** Whether all of the mail had been sent, so that it may have been taken. */
  readonly complete: boolean
  constructor(message: string, details: { code?: number | undefined; command?: string | undefined; complete?: boolean }) {
    super(withoutAddresses(message))
    this.name = 'SmtpError'
    this.code = details.code
    this.command = details.command ?? ''
    this.complete = details.complete ?? false
  }
}

export interface Smtp {
  /** @throws SmtpError, DeliveryError `auth` */
  send(envelope: { from: string; to: string }, mail: () => Readable, signal: AbortSignal): Promise<void>
  /** Signs in and leaves. */
  check(signal: AbortSignal): Promise<void>
  close(): void
}

/** Connections at the same time, and how long one waits for the next mail. */
const MOST_CONNECTIONS = 3
const KEEP = 20_000

/** A few connections that are used again. One that broke is not: the mail's delivery is tried again where that is decided. */
export function createSmtp(server: Server): Smtp {
  const idle = new Map<SMTPConnection, NodeJS.Timeout>()
  const place = slots(MOST_CONNECTIONS)
  const take = (): SMTPConnection | undefined => {
    for (const [connection, timer] of idle) {
      clearTimeout(timer)
      idle.delete(connection)
      if (!connection.destroyed && connection._socket && !connection._socket.destroyed) return connection
    }
    return undefined
  }
  const keep = (connection: SMTPConnection) => {
    const timer = setTimeout(() => {
      idle.delete(connection)
      connection.quit()
    }, KEEP)
    idle.set(connection, timer.unref())
  }
  return {
    send: (envelope, mail, signal) =>
      place(async () => {
        if (signal.aborted) throw new DeliveryError('cancelled', 'stopped before it was sent')
        const connection = take() ?? (await connectSmtp(server, signal))
        await transmit(connection, envelope, mail(), signal)
        keep(connection)
      }),
    async check(signal) {
      const connection = await connectSmtp(server, signal)
      connection.quit()
    },
    close() {
      for (const [connection, timer] of idle) {
        clearTimeout(timer)
        connection.quit()
      }
      idle.clear()
    },
  }
}

async function connectSmtp(server: Server, signal: AbortSignal): Promise<SMTPConnection> {
  const credential = await server.credential()
  const { default: Connection } = await import('nodemailer/lib/smtp-connection')
  const connection = new Connection({
    host: server.host,
    port: server.port,
    secure: server.security === 'tls',
    requireTLS: server.security === 'starttls',
    ignoreTLS: server.security === 'none',
    tls: tlsOf(server),
    connectionTimeout: CONNECT_TIMEOUT,
    greetingTimeout: CONNECT_TIMEOUT,
    socketTimeout: 60_000,
    customAuth: { XOAUTH2: bearer },
  })
  const auth =
    'token' in credential
      ? { method: 'XOAUTH2', user: server.user, pass: credential.token }
      : { user: server.user, pass: credential.password }
  // An error that comes when nothing is under way has nobody to tell.
  connection.on('error', () => undefined)
  await call(connection, signal, (done) => {
    // A relay on this machine may ask nobody who he is.
    connection.connect((error) => (error || !connection.allowsAuth ? done(error) : connection.login(auth, done)))
  })
  return connection
}

/** SASL XOAUTH2: a refusal comes as a challenge, which is answered with nothing. */
const bearer: SMTPConnection.CustomAuthenticationHandlers[string] = async ({ auth, sendCommand }) => {
  const said = Buffer.from(`user=${auth.credentials.user}\u0001auth=Bearer ${auth.credentials.pass}\u0001\u0001`).toString('base64')
  let answer = await sendCommand(`AUTH XOAUTH2 ${said}`)
  if (answer.status === 334) answer = await sendCommand('')
  if (answer.status !== 235) throw new Error('the token was refused')
}

async function transmit(
  connection: SMTPConnection,
  envelope: { from: string; to: string },
  mail: Readable,
  signal: AbortSignal,
): Promise<void> {
  let complete = false
  // The end of the mail is read when almost all of it is on the wire; the dot that makes it count comes after.
  const watched = Readable.from(
    (async function* () {
      for await (const chunk of mail) yield chunk as Buffer
      complete = true
    })(),
    { objectMode: false },
  )
  try {
    await call(connection, signal, (done) => connection.send(envelope, watched, done))
  } catch (error) {
    connection.close()
    throw error instanceof SmtpError ? new SmtpError(error.message, { code: error.code, command: error.command, complete }) : error
  }
}

/** One call with a callback, which may also end by an event of the connection or by the signal. */
function call(connection: SMTPConnection, signal: AbortSignal, make: (done: (error?: Error | null) => void) => void): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    const end = (error?: Error | null) => {
      connection.removeListener('error', end)
      signal.removeEventListener('abort', abort)
      if (!error) return resolve()
      connection.close()
      const { responseCode: code, command, code: type } = error as { responseCode?: number; command?: string; code?: string }
      const refused = type === 'EAUTH' && (code === undefined || code >= 500)
      reject(
        refused
          ? new DeliveryError('auth', withoutAddresses(`SMTP: ${error.message}`))
          : new SmtpError(`SMTP: ${error.message}`, { code, command }),
      )
    }
    const abort = () => end(new Error('it took too long'))
    signal.addEventListener('abort', abort, { once: true })
    connection.on('error', end)
    if (signal.aborted) abort()
    else make(end)
  })
}

/** Runs at most `count` at the same time, the others in the order of their coming. */
export function slots(count: number): <T>(work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = []
  let free = count
  return async (work) => {
    if (free > 0) free--
    else await new Promise<void>((resolve) => waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = waiting.shift()
      if (next) next()
      else free++
    }
  }
}

// ---- OAuth2 -----------------------------------------------------------------------------------------------------------

export interface OAuth {
  readonly token_url: string
  readonly client_id: string
  readonly client_secret?: string
  readonly refresh_token: string
  readonly scope?: string
}

export interface Tokens {
  /** A token that is good for some minutes yet. @throws DeliveryError `auth`, `transient` */
  get(): Promise<string>
  /** The token was refused: the next one is a new one. */
  forget(): void
}

/** Milliseconds before its end at which a token is renewed; one that lives shorter is used for half of its life. */
const EARLY = 300_000

/** RFC 6749, 6. Some providers give a new refresh token each time: the newest is kept, as long as the configured one is the same. */
export function createTokens(oauth: OAuth, fetch: Fetch, now: () => number, state?: KeyValue): Tokens {
  const configured = digest(oauth.refresh_token)
  let current: { readonly token: string; readonly until: number } | undefined
  let asking: Promise<string> | undefined
  const ask = async (): Promise<string> => {
    const kept = JSON.parse((await state?.get('oauth')) ?? '{}') as { of?: string; token?: string }
    const refresh = kept.of === configured && kept.token ? kept.token : oauth.refresh_token
    const form = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refresh, client_id: oauth.client_id })
    if (oauth.client_secret) form.set('client_secret', oauth.client_secret)
    if (oauth.scope) form.set('scope', oauth.scope)
    const { status, answer } = await post(fetch, oauth.token_url, form.toString())
    const { access_token: token, expires_in: life, refresh_token: next, error } = answer
    if (status >= 500 || status === 429) throw new DeliveryError('transient', `the token server answered ${status}`)
    if (typeof token !== 'string') {
      throw new DeliveryError('auth', `the token server refused: ${plain(error) || status}; sign in again and set oauth.refresh_token anew`)
    }
    if (typeof next === 'string' && next !== refresh) await state?.set('oauth', JSON.stringify({ of: configured, token: next }))
    const lasts = typeof life === 'number' ? life * 1000 : 3_600_000
    current = { token, until: now() + lasts - Math.min(EARLY, lasts / 2) }
    return token
  }
  return {
    async get() {
      if (current && now() < current.until) return current.token
      asking ??= ask().finally(() => {
        asking = undefined
      })
      return await asking
    },
    forget() {
      current = undefined
    },
  }
}

async function post(fetch: Fetch, url: string, body: string): Promise<{ status: number; answer: Record<string, unknown> }> {
  try {
    const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body })
    const text = await response.text()
    return { status: response.status, answer: text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {} }
  } catch (error) {
    throw new DeliveryError('transient', `the token server is not reachable: ${error instanceof FetchError ? error.kind : 'no answer'}`)
  }
}

const plain = (value: unknown) => (typeof value === 'string' && /^[\w-]{1,60}$/.test(value) ? value : '')
