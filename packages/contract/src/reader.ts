/** Reading: what a platform sent, understood without a connection, a database or an effect. */
import type { Identity } from './channel.ts'
import type { PlatformCrypto, WebhookRequest, WebhookResponse, WebhookVerification } from './fetch.ts'
import { type FileKind, type InboundMessage, type Part, textOf } from './message.ts'

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

/** A message in the words that all channels share, as people and tests compare it; ids are the platform's own, null is absent. */
export interface ShownMessage {
  readonly type: InboundMessage['kind'] | 'command'
  readonly text: string
  readonly sender_id: string
  readonly chat_id: string
  readonly message_id: string
  readonly thread_id: string | null
  readonly reply_to_id: string | null
  readonly is_group: boolean
  readonly mentions_bot: boolean
  readonly mentions_all: boolean
  readonly replies_to_bot: boolean
  readonly sender_is_bot: boolean
  readonly attachments: readonly ShownAttachment[]
  readonly callback_data: string | null
}

export interface ShownAttachment {
  readonly kind: FileKind | 'location' | 'contact'
  readonly name: string | null
  readonly size: number | null
  readonly mime: string | null
  readonly ref: string | null
}

export function showMessage(message: InboundMessage): ShownMessage {
  return {
    type: message.kind === 'message' && message.command ? 'command' : message.kind,
    text: textOf(message.parts),
    sender_id: message.author.id,
    chat_id: message.place.room,
    message_id: message.id,
    // Where each message of a channel opens a thread of its own, the platform names none yet.
    thread_id: message.threadId ?? (message.place.thread === message.id ? null : (message.place.thread ?? null)),
    reply_to_id: message.replyTo ?? null,
    is_group: message.place.type === 'group',
    mentions_bot: message.mentionsUs === true,
    mentions_all: message.mentionsAll === true,
    replies_to_bot: message.answersUs === true,
    sender_is_bot: message.author.isBot === true,
    attachments: message.parts.flatMap(showAttachment),
    callback_data: message.callbackData ?? null,
  }
}

function showAttachment(part: Part): readonly ShownAttachment[] {
  const none = { name: null, size: null, mime: null, ref: null }
  if (part.type === 'file') {
    const { kind, name, size = null, mime = null, ref = null } = part.file
    return [{ kind, name, size, mime, ref }]
  }
  if (part.type === 'location') return [{ ...none, kind: 'location', name: part.title ?? null, ref: `${part.latitude},${part.longitude}` }]
  return part.type === 'contact' ? [{ ...none, kind: 'contact', name: part.name, ref: part.phone ?? null }] : []
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
