/** E-mail over IMAP and SMTP: settings, identity, and the loop that keeps the mailbox read. RFC 9051, 2177, 5321 */
import {
  type Capabilities,
  type Channel,
  type ChannelHost,
  type Clock,
  type Connection,
  DeliveryError,
  type Fetch,
  type InboundMessage,
  isPosthouseError,
  type KeyValue,
  type Piece,
  type Place,
  type Receipt,
  type SendOptions,
  systemClock,
} from '@posthouse/contract'
import { createSmtp, createTokens, fetchFile, type Mailbox, openMailbox, type Server, slots, type Tokens, Unreadable } from './api.ts'
import { contentOf, decode, type FileHandle, type Head, judge, readMail } from './receive.ts'
import { compose, MOST_TEXT, MOST_UPLOAD, messageIdOf, render, toDeliveryError } from './send.ts'
import { type EmailSettings, isComplete, settings } from './settings.ts'

/** Limits: what servers commonly take (Gmail 25 MB with everything encoded); rates well below those of providers. */
const capabilities: Capabilities = {
  maxText: { limit: MOST_TEXT, unit: 'bytes' },
  upload: { image: MOST_UPLOAD, audio: MOST_UPLOAD, voice: MOST_UPLOAD, video: MOST_UPLOAD, file: MOST_UPLOAD, sticker: MOST_UPLOAD },
  download: 50 * 1024 * 1024,
  ownership: 'single',
  proactive: true,
  idempotentSend: false,
  answersRefer: true,
  // A mail waits in its mailbox for ever; what is older than the keys are kept is also older than what is answered.
  ackDeadline: 3_600_000,
  retryWindow: 7 * 86_400_000,
  rates: { account: { amount: 60, per: 60_000 }, direct: { amount: 10, per: 60_000 } },
}

export const email = createEmail()

export function createEmail(clock: Clock = systemClock): Channel<EmailSettings> {
  return {
    id: 'email',
    settings,
    capabilities,
    setbacks: {
      transient: { remedy: 'the mail server is not reachable; it is being tried again', least: 1000, most: 60_000 },
      // Servers lock out who tries a wrong password too often.
      auth: { remedy: 'the mail server refuses user or password; correct them', least: 60_000, most: 900_000 },
      'not-found': { remedy: 'there is no such mailbox; correct it' },
    },
    reader: (settings) => ({ raw: (raw, { now }) => readMail(raw, settings, now) }),
    open: async (settings, host, signal) => await open(settings, host, signal, clock),
    async probe(settings, { fetch }, signal) {
      const { imap, smtp } = serversOf(settings, fetch, clock)
      await using _mailbox = await openMailbox(imap, settings.mailbox, { readOnly: true, signal })
      await createSmtp(smtp)
        .check(signal)
        .catch((error: unknown) => {
          throw toDeliveryError(error)
        })
      return { id: settings.address, name: settings.name ?? settings.address }
    },
  }
}

// ---- Who we are -------------------------------------------------------------------------------------------------------

/** An account has one token at a time, whoever asks. */
const tokensBySettings = new WeakMap<EmailSettings, Tokens>()

function serversOf(
  settings: EmailSettings,
  fetch: Fetch,
  clock: Clock,
  state?: KeyValue,
): { imap: Server; smtp: Server; tokens: Tokens | undefined } {
  const { oauth } = settings
  const known = tokensBySettings.get(settings)
  const tokens = isComplete(oauth) ? (known ?? createTokens(oauth, fetch, clock.now, state)) : undefined
  if (tokens && state) tokensBySettings.set(settings, tokens)
  const serverOf = (
    { host, port, security, ...own }: EmailSettings['smtp'],
    ports: Readonly<Record<Server['security'], number>>,
  ): Server => ({
    host,
    port: port ?? ports[security],
    security,
    ca: settings.tls_ca,
    user: own.user ?? settings.user ?? settings.address,
    credential: async () =>
      tokens && !own.password ? { token: await tokens.get() } : { password: own.password ?? settings.password ?? '' },
  })
  return {
    imap: serverOf(settings.imap, { tls: 993, starttls: 143, none: 143 }),
    smtp: serverOf(settings.smtp, { tls: 465, starttls: 587, none: 25 }),
    tokens,
  }
}

// ---- An open account --------------------------------------------------------------------------------------------------

/** What is older than this when an account is opened for the first time was not written to the assistant. */
const LOOK_BACK = 3_600_000
/** A server that says nothing for this long is asked; an account is judged after a minute of silence. */
const SIGN_EVERY = 50_000
/** How long a send that is under way may go on while the account closes: an aborted one may have arrived. */
const GRACE = 5_000
const MOST_DOWNLOADS = 3

interface Account {
  readonly settings: EmailSettings
  readonly host: ChannelHost
  readonly clock: Clock
  readonly imap: Server
  readonly tokens: Tokens | undefined
  /** Fires when receiving must end. */
  readonly stop: AbortSignal
  readonly since: number
  /** Times that a mail was begun and not ended: the third is its last. */
  readonly strikes: Map<string, number>
  /** Mails that were not taken since the start. */
  readonly turnedAway: { refused: number; unproven: number }
}

async function open(settings: EmailSettings, host: ChannelHost, signal: AbortSignal, clock: Clock): Promise<Connection> {
  const closing = new AbortController()
  const cutOff = new AbortController()
  const pending = new Set<Promise<unknown>>()
  const tracked = <T>(work: Promise<T>): Promise<T> => {
    const quiet: Promise<unknown> = work.catch(() => undefined).finally(() => pending.delete(quiet))
    pending.add(quiet)
    return work
  }
  const { imap, smtp: outgoing, tokens } = serversOf(settings, host.fetch, clock, host.state)
  const smtp = createSmtp(outgoing)
  const downloads = slots(MOST_DOWNLOADS)
  const account: Account = {
    settings,
    host,
    clock,
    imap,
    tokens,
    stop: AbortSignal.any([signal, closing.signal]),
    since: await firstOpened(host.state, clock),
    strikes: new Map(),
    turnedAway: { refused: 0, unproven: 0 },
  }
  const { sent_mailbox: sent } = settings

  const send = async (piece: Piece, to: Place, { idempotencyKey, signal: late }: SendOptions): Promise<Receipt> => {
    const mail = await compose(settings, piece, to, idempotencyKey)
    try {
      await smtp.send(mail.envelope, mail.stream, AbortSignal.any([late, cutOff.signal]))
    } catch (error) {
      const failure = toDeliveryError(error)
      if (failure.kind === 'auth') tokens?.forget()
      throw failure
    }
    if (sent && settings.save_sent && !piece.file) tracked(keepCopy(sent, mail.bytes)).catch((error: Error) => copyLost(error))
    return { id: mail.messageId, room: to.room }
  }
  const keepCopy = async (path: string, bytes: () => Promise<Buffer>) => {
    await using mailbox = await openMailbox(imap, path)
    await mailbox.append(await bytes())
  }
  const copyLost = ({ message }: Error) => host.log.warn({ problem: message }, 'an answer was sent, but no copy of it could be kept')

  return {
    listen: (listener, until) =>
      tracked(listen({ ...account, stop: AbortSignal.any([account.stop, until]), host: { ...host, ...listener } })),
    render,
    send: (piece, to, options) => tracked(send(piece, to, options)),
    download: async (file, limit, late) => {
      const handle = JSON.parse(file.ref ?? '{}') as FileHandle
      const paths = [settings.mailbox, ...(settings.move_to ? [settings.move_to] : [])]
      return held(downloads, () => fetchFile(imap, paths, handle, limit), late)
    },
    ...(sent
      ? {
          // A mail that is not there may still be on its way: only "sent" is certain.
          reconcile: async (_, to, { idempotencyKey }) => {
            await using mailbox = await openMailbox(imap, sent, { readOnly: true })
            return (await mailbox.find(messageIdOf(settings, to, idempotencyKey))) === undefined ? 'unknown' : 'sent'
          },
        }
      : {}),
    [Symbol.asyncDispose]: async () => {
      closing.abort()
      const late = setTimeout(() => cutOff.abort(), GRACE)
      while (pending.size > 0) await Promise.all(pending)
      clearTimeout(late)
      smtp.close()
    },
  }
}

async function firstOpened(state: KeyValue, clock: Clock): Promise<number> {
  const known = Number(await state.get('since'))
  if (known > 0) return known
  const since = clock.now() - LOOK_BACK
  await state.set('since', String(since))
  return since
}

/** Streams under one of few places, which is given back when the reader is done or gone. */
async function* held(
  place: ReturnType<typeof slots>,
  make: () => AsyncGenerator<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const done = Promise.withResolvers<void>()
  await new Promise<void>((begin) => {
    void place(() => {
      begin()
      return done.promise
    })
  })
  try {
    for await (const chunk of make()) {
      signal.throwIfAborted()
      yield chunk
    }
  } finally {
    done.resolve()
  }
}

// ---- Reading the mailbox ----------------------------------------------------------------------------------------------

/** Reads the mailbox until the account closes or the connection breaks. */
async function listen(account: Account): Promise<void> {
  const { settings, host, clock, imap, tokens, stop } = account
  try {
    await using mailbox = await openMailbox(imap, settings.mailbox, { signal: stop })
    const left = new Set<number>()
    while (!stop.aborted) {
      const pause = await takeNew(account, mailbox, left)
      if (stop.aborted) break
      host.report('connected', detail(account))
      if (pause > 0) await clock.wait(pause, stop)
      else await mailbox.wait({ idle: settings.mode === 'idle' ? SIGN_EVERY : undefined, poll: settings.poll_interval }, stop)
    }
  } catch (thrown) {
    if (stop.aborted) return
    if (thrown instanceof DeliveryError && thrown.kind === 'auth') tokens?.forget()
    throw thrown
  }
}

function detail({ turnedAway: { refused, unproven }, settings }: Account): string | undefined {
  if (refused + unproven === 0) return undefined
  return `since the start ${unproven} mails came without proof of their sender and ${refused} could not be read; they are flagged in ${settings.mailbox}`
}

// ---- Taking mails in --------------------------------------------------------------------------------------------------

const BATCH = 25
const MOST_STRIKES = 3

type Outcome = 'taken' | 'left' | 'refused' | 'unproven'

/** Takes what waits, in the order of arrival. Answers how long to wait because the gateway took no more, else 0. */
async function takeNew(account: Account, mailbox: Mailbox, left: Set<number>): Promise<number> {
  const { settings, host, since, stop } = account
  const waiting = (await mailbox.waiting(settings.processed_flag, since)).filter((uid) => !left.has(uid))
  host.received()
  for (let at = 0; at < waiting.length && !stop.aborted; at += BATCH) {
    const ended: Record<Outcome, number[]> = { taken: [], left: [], refused: [], unproven: [] }
    let refusal: unknown
    for (const head of await mailbox.heads(waiting.slice(at, at + BATCH))) {
      if (stop.aborted) break
      const outcome = await take(account, mailbox, head).catch((error: unknown) => {
        if (!isPosthouseError(error)) throw error
        refusal = error
        return undefined
      })
      if (!outcome) break
      ended[outcome].push(head.uid)
    }
    for (const uid of ended.left) left.add(uid)
    await settle(account, mailbox, ended)
    host.received()
    if (refusal !== undefined) {
      host.log.warn({ problem: String(refusal) }, 'mails were not taken; they stay in the mailbox')
      return (isPosthouseError(refusal) && refusal.retryAfter) || 1000
    }
  }
  return 0
}

/** P1: only what is committed is marked. What could not be read is flagged, too, so that a person sees it and it is not read for ever. */
async function settle({ settings, host, turnedAway }: Account, mailbox: Mailbox, ended: Record<Outcome, number[]>): Promise<void> {
  const { taken, refused, unproven } = ended
  if (taken.length > 0) await mailbox.flag(taken, [settings.processed_flag])
  const away = [...refused, ...unproven]
  if (away.length > 0) await mailbox.flag(away, [settings.processed_flag, '\\Flagged'])
  turnedAway.refused += refused.length
  turnedAway.unproven += unproven.length
  if (taken.length === 0 || settings.move_to === undefined) return
  await mailbox.move(taken, settings.move_to).catch((error: Error) => {
    host.log.warn({ problem: error.message }, 'mails were taken, but could not be moved')
  })
}

/** Resolves when the mail needs no repetition. @throws PosthouseError when the gateway takes no more, DeliveryError when the connection broke */
async function take(account: Account, mailbox: Mailbox, head: Head): Promise<Outcome> {
  const { settings, host, strikes } = account
  if (head.arrivedAt < account.since) return 'left'
  const id = `${mailbox.validity}:${head.uid}`
  const begun = (strikes.get(id) ?? 0) + 1
  const turnAway = (outcome: 'refused' | 'unproven', why: string): Outcome => {
    host.log.warn({ uid: head.uid, why }, 'a mail was not taken; it is flagged in the mailbox')
    return outcome
  }
  if (begun > MOST_STRIKES) return turnAway('refused', 'the connection broke each time that it was read')
  strikes.set(id, begun)
  const read = await fetchMail(settings, mailbox, head)
  strikes.delete(id)
  if (read.kind === 'refused' || read.kind === 'unproven') return turnAway(read.kind, read.why)
  if (read.kind === 'gone') return 'left'
  if (read.kind === 'automatic') {
    host.log.info({ uid: head.uid, why: read.why }, 'a mail of a program is not answered')
    return 'taken'
  }
  await host.receive(read.message)
  return 'taken'
}

type Read =
  | { readonly kind: 'message'; readonly message: InboundMessage }
  | { readonly kind: 'automatic'; readonly why: string }
  | { readonly kind: 'refused'; readonly why: string }
  | { readonly kind: 'unproven'; readonly why: string }
  | { readonly kind: 'gone' }

/** Nothing that stands in a mail may stop those behind it. @throws DeliveryError when it is the connection */
async function fetchMail(settings: EmailSettings, mailbox: Mailbox, head: Head): Promise<Read> {
  try {
    const judged = await judge(head, settings)
    if (judged.kind !== 'letter') return judged
    const structure = await mailbox.structure(head.uid)
    if (!structure) return { kind: 'gone' }
    const content = contentOf(structure)
    const raw = await mailbox.texts(
      head.uid,
      content.texts.map(({ part }) => part),
    )
    return { kind: 'message', message: await decode(judged.letter, content, raw, { validity: mailbox.validity, uid: head.uid }) }
  } catch (error) {
    if (error instanceof DeliveryError) throw error
    return { kind: 'refused', why: error instanceof Unreadable ? 'its parts cannot be told apart' : 'it cannot be decoded' }
  }
}
