/** Reading: what a platform sent, understood without a connection, a database or an effect. */
import type { Identity } from './channel.ts'
import type { PlatformCrypto, WebhookRequest, WebhookResponse, WebhookVerification } from './fetch.ts'
import type { InboundMessage } from './message.ts'

/** What reading needs to know. */
export interface Known {
  /** Stands in for a time that is not told; epoch milliseconds. */
  readonly now: number
  /** Who we are on the platform, as far as known yet. */
  readonly us?: Identity
  readonly crypto: PlatformCrypto
}

/** What one call or frame is understood as. */
export interface Reading {
  /** In the order in which they are to be admitted; those of bots and those not meant for us, too. */
  readonly messages: readonly InboundMessage[]
  /** What the platform is answered when all of them are committed; 200 unless given. */
  readonly response?: WebhookResponse
  /** It only asked whether this address is ours. */
  readonly challenge?: boolean
  /** Why there is nothing in it for us, in a few words. */
  readonly reason?: string
}

/** How an account reads; pure. What a door or a socket receives goes through the same functions as what `channel decode` is given. */
export interface Reader {
  /** One of these must hold before a webhook call is read; none of none does. Left out only where the caller is proven elsewhere (web chat). */
  readonly verification?: readonly WebhookVerification[]
  /** Answers a question of the platform that carries no proof; undefined for every other call. Nothing may come of it but the answer. */
  challenge?(request: WebhookRequest, known: Known): WebhookResponse | undefined
  /** @throws PosthouseError `invalid` when it is not what the platform promises. */
  request?(request: WebhookRequest, known: Known): Reading
  /** A frame of a socket, or one element of what a poll brought. @throws PosthouseError `invalid` */
  frame?(frame: unknown, known: Known): Reading
  /** A message as it stands in a mailbox or on a line. @throws PosthouseError `invalid` */
  raw?(raw: Uint8Array, known: Known): Reading | Promise<Reading>
}
