/** How an app is called: XML inside sealed XML, signed; how an AI bot is: JSON inside sealed JSON. https://developer.work.weixin.qq.com/document/path/90968, /90930 and /101033 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { createWebhookCalls, type WebhookAttempt, type WebhookEvent } from '../webhook-calls.ts'
import { newId } from './store.ts'

export interface Subscription {
  readonly corp_id: string
  readonly agent_id: number
  readonly token: string
  readonly encoding_aes_key: string
  /** Milliseconds before what was not acknowledged comes again; doubles each time. */
  readonly retryDelay: number
  readonly maxRetryDelay: number
  /** The platform waits for five seconds and calls four times in all. */
  readonly deadline: number
  readonly attempts: number
}

const keyOf = (encoding: string) => Buffer.from(`${encoding}=`, 'base64')

/** 16 bytes of chance, the length, the text, whom it is for; filled up to 32 bytes. */
export function sealAsWecom(encoding_aes_key: string, text: string, receiveId: string): string {
  const words = Buffer.from(text)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(words.length)
  const plain = Buffer.concat([randomBytes(16), length, words, Buffer.from(receiveId)])
  const padding = 32 - (plain.length % 32)
  const key = keyOf(encoding_aes_key)
  const cipher = createCipheriv('aes-256-cbc', key, key.subarray(0, 16)).setAutoPadding(false)
  return Buffer.concat([cipher.update(Buffer.concat([plain, Buffer.alloc(padding, padding)])), cipher.final()]).toString('base64')
}

/** The reverse, for tests of what was sealed. @throws Error when it is for somebody else than `receiveId`, if given */
export function openAsWecom(encoding_aes_key: string, sealed: string, receiveId?: string): string {
  const key = keyOf(encoding_aes_key)
  const decipher = createDecipheriv('aes-256-cbc', key, key.subarray(0, 16)).setAutoPadding(false)
  const plain = Buffer.concat([decipher.update(Buffer.from(sealed, 'base64')), decipher.final()])
  const end = 20 + plain.readUInt32BE(16)
  const whom = plain.toString('utf8', end, plain.length - (plain.at(-1) ?? 0))
  if (receiveId !== undefined && whom !== receiveId) throw new Error('it is for another receiver')
  return plain.toString('utf8', 20, end)
}

/** The query with which the platform signs what it sealed. `at`: epoch seconds. */
export function signAsWecom(token: string, sealed: string, at = Math.floor(Date.now() / 1000)): Record<string, string> {
  const [timestamp, nonce] = [String(at), newId()]
  const msg_signature = createHash('sha1').update([token, timestamp, nonce, sealed].sort().join('')).digest('hex')
  return { msg_signature, timestamp, nonce }
}

/** Answers whether this answer acknowledges the call, which had this nonce. */
export type Taken = (answer: string, nonce: string) => boolean

export interface Calls extends AsyncDisposable {
  /** Calls with this inner XML or JSON; answers an id for repeating it. `taken` judges what it is answered; without it any 2xx will do. */
  emit(room: string, inner: string, taken?: Taken): string
  /** Calls once; whether an answer came and was taken. */
  ask(inner: string, taken: Taken): Promise<boolean>
  again(id: string): void
  /** From now on at this address. @throws Error when it does not answer the platform's question */
  point(url: string | undefined): Promise<void>
  readonly pending: number
  readonly attempts: readonly WebhookAttempt[]
}

/** `form`: an app is called with XML, an AI bot with JSON, which is for nobody by name. */
export function createCalls(subscription: Subscription, form: 'xml' | 'json'): Calls {
  const { corp_id, agent_id, token, encoding_aes_key, attempts: most, ...timing } = subscription
  const receiveId = form === 'xml' ? corp_id : ''
  const request = (inner: string) => {
    const sealed = sealAsWecom(encoding_aes_key, inner, receiveId)
    const signed = signAsWecom(token, sealed)
    const xml = `<xml><ToUserName><![CDATA[${corp_id}]]></ToUserName><AgentID><![CDATA[${agent_id}]]></AgentID><Encrypt><![CDATA[${sealed}]]></Encrypt></xml>`
    const [type, body] = form === 'xml' ? ['text/xml', xml] : ['application/json', JSON.stringify({ encrypt: sealed })]
    const made = { url: `${url ?? 'http://127.0.0.1:1/'}?${new URLSearchParams(signed)}`, headers: { 'content-type': type }, body }
    return { nonce: signed.nonce ?? '', made }
  }
  const known = new Map<string, WebhookEvent>()
  let url: string | undefined
  const calls = createWebhookCalls({ ...timing, attempts: most })
  return {
    emit(room, inner, taken) {
      const id = newId()
      let nonce = ''
      const event: WebhookEvent = {
        room,
        request() {
          const { nonce: given, made } = request(inner)
          nonce = given
          return made
        },
        ...(taken ? { isAcknowledged: (status: number, answer: string) => status === 200 && taken(answer, nonce) } : {}),
      }
      known.set(id, event)
      calls.call(event)
      return id
    },
    async ask(inner, taken) {
      const { nonce, made } = request(inner)
      const signal = AbortSignal.timeout(timing.deadline)
      const answer = await fetch(made.url, { method: 'POST', headers: made.headers, body: made.body, signal }).then(
        async (response) => (response.status === 200 ? await response.text() : undefined),
        () => undefined,
      )
      return answer !== undefined && taken(answer, nonce)
    },
    again(id) {
      const event = known.get(id)
      if (!event) throw new Error(`the call ${id} is not known`)
      calls.call(event)
    },
    async point(to) {
      if (to !== undefined) {
        const question = newId()
        const echostr = sealAsWecom(encoding_aes_key, question, receiveId)
        const response = await fetch(`${to}?${new URLSearchParams({ ...signAsWecom(token, echostr), echostr })}`, {
          signal: AbortSignal.timeout(1000),
        })
        // Exactly: no quotes, no byte order mark, no line break.
        if (response.status !== 200 || (await response.text()) !== question)
          throw new Error(`the address did not answer the platform's question (${response.status})`)
      }
      url = to
    },
    get pending() {
      return calls.pending
    },
    attempts: calls.attempts,
    [Symbol.asyncDispose]: () => calls[Symbol.asyncDispose](),
  }
}
