/**
 * An AI bot that is called. It cannot write: what it says is fetched by the platform, which asks again and again how far an answer is, or is
 * posted once to the address that came with a message. https://developer.work.weixin.qq.com/document/path/100719, /101031, /101033, /101138
 */
import { hash, randomBytes } from 'node:crypto'
import {
  type ChannelHost,
  type Clock,
  DeliveryError,
  type Fields,
  fieldsOf,
  type Piece,
  type Place,
  type Receipt,
  type SendOptions,
  textIn,
  type WebhookRequest,
  type WebhookResponse,
} from '@posthouse/contract'
import type { Api } from './api.ts'
import { createQuestions, type Growing, type Question, type Questions, questionId } from './questions.ts'
import { botPlace, keyOf, openBotCall, readBotCall } from './receive.ts'
import { contentOf, toDeliveryError } from './send.ts'
import type { WecomSettings } from './settings.ts'

export interface CalledBot {
  /** Answers a call; it rejects when what came in it is not committed. */
  take(request: WebhookRequest): Promise<WebhookResponse>
  /** @throws DeliveryError */
  send(piece: Piece, to: Place, options: SendOptions): Promise<Receipt>
  /** @throws DeliveryError */
  edit(receipt: Receipt, piece: Piece, options: SendOptions): Promise<Receipt>
}

interface Parts {
  readonly settings: WecomSettings
  readonly host: ChannelHost
  readonly api: Api
  readonly clock: Clock
}

type Bot = Parts & { readonly questions: Questions }

/** The platform asks for so long from when somebody spoke: document/path/100719 */
const STREAM_LIFE = 360_000
/** Before that a stream that is not done is ended, so that it does not stand as if something were to come. */
const END_BEFORE = 20_000
/** Shown where there is nothing to show yet, or where nothing more comes: a word would need a language. */
const WAITING = '…'
/** How often it is noted that the platform asks. */
const NOTED_EVERY = 5000
/** Not asked for so long, the platform has given the stream up, or never opened it. */
const SILENT = 20_000
/** Between two looks whether an answer was fetched: by whatever node. */
const LOOK_EVERY = 250
/** The address to answer at is good for an hour, and once: document/path/101138 */
const URL_LIFE = 3_600_000
const MARGIN = 60_000

export function createCalledBot(parts: Parts): CalledBot {
  const bot: Bot = { ...parts, questions: createQuestions(parts.host.state) }
  return {
    take: (request) => take(bot, request),
    send: (piece, to, options) => told(options, () => send(bot, piece, to, options)),
    edit: (receipt, piece, options) => told(options, () => edit(bot, receipt, piece, options)),
  }
}

async function told<T>({ signal }: SendOptions, call: () => Promise<T>): Promise<T> {
  if (signal.aborted) throw new DeliveryError('cancelled', 'stopped before it was sent')
  try {
    return await call()
  } catch (error) {
    throw toDeliveryError(error)
  }
}

// ---- Calls ------------------------------------------------------------------------------------------------------------

async function take(bot: Bot, request: WebhookRequest): Promise<WebhookResponse> {
  const { settings, host, clock, questions } = bot
  const known = { now: clock.now(), crypto: host.crypto }
  const body = openBotCall(request, settings, known)
  const { messages } = readBotCall(body, settings, known)
  host.received()
  if (body.msgtype === 'stream') return sealed(bot, request, await howFar(bot, body))
  const [message] = messages
  if (!message) return { status: 200 }
  const streams = message.kind === 'message'
  const id = questionId(message.id)
  // Known before anybody can answer it.
  await questions.note(message.place.room, { id, at: known.now, url: addressIn(body, settings), streams, polled: 0 })
  await host.receive(message)
  // A card's button is answered by a card in its place, or later.
  return streams ? sealed(bot, request, stream(id, WAITING, false)) : { status: 200 }
}

/** Only one of the platform's own. */
function addressIn({ response_url }: Fields, { base_url }: WecomSettings): string {
  const url = textIn(response_url)
  return url.length <= 2000 && url.startsWith(`${base_url.replace(/\/+$/, '')}/cgi-bin/aibot/response?`) ? url : ''
}

const stream = (id: string, content: string, finish: boolean) => ({ msgtype: 'stream', stream: { id, finish, content } })

/** What is there so far. Nobody is asked but the state: whatever node answers, and however often, it is the same. */
async function howFar({ questions, clock }: Bot, body: Fields): Promise<object> {
  const id = textIn(fieldsOf(body.stream).id)
  const { room } = botPlace(body).place
  const now = clock.now()
  const question = (await questions.of(room)).find((candidate) => candidate.id === id)
  if (!question) return stream(id, WAITING, true)
  if (now - question.polled > NOTED_EVERY) await questions.change(room, id, (found) => ({ ...found, polled: now }))
  const over = question.closed === true || now - question.at > STREAM_LIFE - END_BEFORE
  const answer = await questions.move(id, (before) => {
    if (before?.phase === 'whole') return { ...before, phase: 'fetched' }
    return over && (before === undefined || before.phase === 'growing') ? { phase: 'withdrawn' } : undefined
  })
  if (answer === undefined) return stream(id, WAITING, false)
  return answer.phase === 'withdrawn' ? stream(id, WAITING, true) : stream(id, answer.text, answer.phase === 'fetched')
}

/** As the platform seals its calls, for nobody by name: document/path/101033 */
function sealed({ settings, host, clock }: Bot, { query }: WebhookRequest, answer: object): WebhookResponse {
  const text = Buffer.from(JSON.stringify(answer))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length)
  const plain = Buffer.concat([randomBytes(16), length, text])
  const encrypt = Buffer.from(host.crypto.encrypt(plain, keyOf(settings.encoding_aes_key ?? ''))).toString('base64')
  const { nonce = '' } = query
  const timestamp = Math.floor(clock.now() / 1000)
  const msgsignature = hash('sha1', [settings.token ?? '', String(timestamp), nonce, encrypt].sort().join(''))
  const body = JSON.stringify({ encrypt, msgsignature, timestamp, nonce })
  return { status: 200, headers: { 'content-type': 'application/json' }, body }
}

// ---- Answers ----------------------------------------------------------------------------------------------------------

async function send(bot: Bot, piece: Piece, to: Place, options: SendOptions): Promise<Receipt> {
  if (piece.file)
    throw new DeliveryError(
      'invalid',
      'an AI bot that is called sends no files: set server.public_url, and they become links; or use mode: bot',
    )
  const { reply_to } = piece.payload
  const question = typeof reply_to === 'string' ? await find(bot, to.room, questionId(reply_to)) : undefined
  const receipt: Receipt = { id: question?.id ?? '', room: to.room }
  if (options.draft) {
    if (!question || !(await grow(bot, question, contentOf(piece))))
      throw new DeliveryError('not-found', 'it has no stream that could grow')
    return receipt
  }
  if (question && (await offer(bot, to.room, question, contentOf(piece), options))) return receipt
  await post(bot, to.room, question, contentOf(piece), options)
  return receipt
}

async function edit(bot: Bot, receipt: Receipt, piece: Piece, options: SendOptions): Promise<Receipt> {
  const question = await find(bot, receipt.room, receipt.id)
  const taken =
    question !== undefined &&
    (options.draft ? await grow(bot, question, contentOf(piece)) : await offer(bot, receipt.room, question, contentOf(piece), options))
  if (!taken) throw new DeliveryError('not-found', 'its stream is over')
  return receipt
}

async function find({ questions }: Bot, room: string, id: string): Promise<Question | undefined> {
  return (await questions.of(room)).find((question) => question.id === id)
}

/** Whether the text so far will be shown. */
async function grow({ questions }: Bot, { id, streams }: Question, text: string): Promise<boolean> {
  if (!streams) return false
  const after = await questions.move(id, (before) =>
    before === undefined || before.phase === 'growing' ? { phase: 'growing', text } : undefined,
  )
  return after?.phase === 'growing'
}

/**
 * Lays the whole answer ready and waits until the platform fetched it. False when its stream is over, or has another answer: then it was
 * surely not shown, and never will be there.
 */
async function offer(
  bot: Bot,
  room: string,
  question: Question,
  text: string,
  { idempotencyKey: key, signal }: SendOptions,
): Promise<boolean> {
  const { questions, clock } = bot
  if (!question.streams) return false
  let answer: Growing | undefined = await questions.move(question.id, (before) =>
    before === undefined || before.phase === 'growing' ? { phase: 'whole', text, key } : undefined,
  )
  if (!answer || answer.phase === 'growing' || answer.phase === 'withdrawn' || answer.key !== key) return false
  await questions.closeUpTo(room, question.id)
  for (const since = clock.now(); answer?.phase === 'whole'; ) {
    const polled = (await find(bot, room, question.id))?.polled ?? 0
    const given = clock.now() - Math.max(polled, since) > SILENT || clock.now() - question.at > STREAM_LIFE
    if (given) answer = await questions.move(question.id, (before) => (before?.phase === 'whole' ? { phase: 'withdrawn' } : undefined))
    else {
      if (signal.aborted) throw new DeliveryError('transient', 'WeCom has not asked for the answer yet')
      await clock.wait(LOOK_EVERY, signal)
      answer = await questions.answer(question.id)
    }
  }
  return answer?.phase === 'fetched'
}

const NOWHERE =
  'WeCom gives this bot one address for each message, good for an hour, and all of this chat are used: let the person write again, then retry it'

/** To the address of the question, else to one that a question of this chat has left. Each takes one message, so a repetition shows nothing twice. */
async function post(
  bot: Bot,
  room: string,
  question: Question | undefined,
  content: string,
  { idempotencyKey: key, signal }: SendOptions,
): Promise<void> {
  const { url, id, tried } = await claimAddress(bot, room, question, key)
  try {
    await bot.api.answerAt(url, { msgtype: 'markdown', markdown: { content } }, signal)
  } catch (error) {
    const failure = refusalOf(error)
    const { kind } = failure
    // No code is documented for an address that was used: what it says to a second try can only mean that the first one got through.
    if (tried && (kind === 'not-found' || kind === 'invalid')) return
    if (!tried && (kind === 'transient' || kind === 'rate-limited'))
      await bot.questions.change(room, id, (found) => ({ ...found, spent: undefined }))
    throw failure
  }
}

/** The same for each attempt, and for no other piece. @throws DeliveryError */
async function claimAddress({ questions, clock }: Bot, room: string, question: Question | undefined, key: string) {
  for (;;) {
    const usable = (await questions.of(room)).filter(({ url, at }) => url !== '' && clock.now() - at < URL_LIFE - MARGIN)
    const tried = usable.find(({ spent }) => spent === key)
    if (tried) return { ...tried, tried: true }
    const free = usable.filter(({ spent }) => spent === undefined)
    const chosen = free.find(({ id }) => id === question?.id) ?? free.at(-1)
    if (!chosen) throw new DeliveryError('permission', NOWHERE)
    const isOurs = await questions.change(room, chosen.id, (found) => (found.spent === undefined ? { ...found, spent: key } : undefined))
    if (isOurs) return { ...chosen, tried: false }
  }
}

/** There is no credential in it that could be refused but the address itself. */
function refusalOf(error: unknown): DeliveryError {
  const failure = toDeliveryError(error)
  const means = failure.kind === 'auth' || failure.kind === 'permission'
  return means ? new DeliveryError('not-found', `the address to answer at is refused (${failure.message})`) : failure
}
