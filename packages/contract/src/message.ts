/**
 * The words of Posthouse, used with these meanings in code, docs, screens and logs.
 *
 * - **Channel**: adapter for one platform (`telegram`). **Account**: one configured identity of ours on a channel (a bot).
 * - **Conversation**: ordered exchange in one place with one set of people; its key is account + room + thread.
 * - **Message**: immutable content with an author and parts.
 * - **Inbox**: accepted inbound messages, unique per platform key. **Lane**: the order of one conversation, at most one turn at a time.
 * - **Turn**: one run from claimed inbound messages to the final answer; the unit of retry and of cost.
 * - **Assistant**: configuration (model, instructions, limits). **Tool**: callable that a model may request.
 * - **Outbox**: messages promised and not yet confirmed, staged in the turn's own commit.
 * - **Delivery**: sending one outbox entry piece by piece, with attempts, a **Receipt**, or a failure of a closed kind.
 * - **Priority**: class of work (interactive, normal, background): who goes first when not everything can be done at once.
 * - **Draft**: best-effort live preview of an answer, never durable.
 * - **Hand-over**: a person answers a conversation in the assistant's place, until it is given back.
 * - **Lease**: exclusive, fenced ownership of a long connection.
 * - **Dead letter**: a message or delivery that could not get its outcome and waits for an operator.
 *
 * @module
 */

/** What kind of file a part carries; platforms show each kind in its own way. */
export type FileKind = 'image' | 'audio' | 'voice' | 'video' | 'file' | 'sticker'

/** A file that travels with a message. Bytes are never inside a message: they are fetched by `ref` or kept under `id`. */
export interface FileRef {
  readonly kind: FileKind
  /** As its author named it; untrusted text, never a path. */
  readonly name: string
  /** Media type as declared; untrusted. */
  readonly mime?: string
  /** Bytes, if the platform tells. */
  readonly size?: number
  /** The platform's handle, understood by the channel that produced it (`Connection.download`). */
  readonly ref?: string
  /** Our own id once the bytes are kept by Posthouse. */
  readonly id?: string
}

/** One piece of a message's content. */
export type Part =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'file'; readonly file: FileRef }
  | { readonly type: 'location'; readonly latitude: number; readonly longitude: number; readonly title?: string }
  | { readonly type: 'contact'; readonly name: string; readonly phone?: string }
  /** Going out: something happened (`task_update`), told as data beside its words. */
  | { readonly type: 'event'; readonly event_type: string; readonly content: Readonly<Record<string, unknown>> }

/** Who wrote a message, as the platform identifies them within one account. */
export interface Author {
  /** The platform's own id as a string. */
  readonly id: string
  readonly name?: string
  readonly username?: string
  readonly isBot?: boolean
  /** BCP 47, if the platform tells: notices are written in this language. */
  readonly language?: string
}

/** Where a message was written and where its answer goes. */
export interface Place {
  /** The platform's id of the chat, channel or mailbox. */
  readonly room: string
  /** The platform's id of the topic or thread within the room. */
  readonly thread?: string
  readonly type: 'direct' | 'group'
  /** What it is called there; an answer's place has what it was called last. */
  readonly title?: string
}

/**
 * One thing that a platform told us, decoded and not yet trusted.
 *
 * - `message`: somebody wrote. `edit`: replaces the content of an earlier message. `delete`: takes an earlier message back.
 * - `callback`: somebody pressed a button of ours. `reaction`: somebody marked a message; nothing comes of it.
 *
 * What bots wrote (we ourselves, too) is decoded with `author.isBot` and never answered: the gateway leaves it out.
 */
export interface InboundMessage {
  readonly kind: 'message' | 'edit' | 'delete' | 'callback' | 'reaction'
  /** Unique within the account for ever; a repeat of the same key is the same admission (P2). */
  readonly key: string
  /** The platform's id of the message itself; replies, edits and deletions refer to it. */
  readonly id: string
  readonly place: Place
  readonly author: Author
  readonly parts: readonly Part[]
  /** Epoch milliseconds by the platform's clock. */
  readonly sentAt: number
  /** The platform's id of the message that this one answers. */
  readonly replyTo?: string
  /** How the platform names the thread, where `place.thread` has to be something else to be answered in. For `channel decode`. */
  readonly threadId?: string
  /** In a group: whether it is meant for us (mention, reply to us, command addressed to us). Always true in a direct place. */
  readonly addressed: boolean
  /** By what: for `channel decode`. */
  readonly mentionsUs?: boolean
  readonly mentionsAll?: boolean
  /**
   * Whether `replyTo`, else the message that the thread hangs on, is one of ours. Left out where the platform does not tell: then the gateway looks
   * into its receipts, and takes an answer to us as addressed. Say `false` where you know: it saves that look.
   */
  readonly answersUs?: boolean
  /** A command of ours that the message consists of, without the slash and in lower case: `{ name: 'new', argument: '' }`. */
  readonly command?: Command
  /** What the pressed button carried (kind `callback`), or the mark that was set (kind `reaction`). */
  readonly callbackData?: string
  /** Our own message that this one takes the place of: asked again or edited and sent again (web chat). */
  readonly replaces?: string
}

/** A built-in command and what was written behind it. */
export interface Command {
  readonly name: string
  readonly argument: string
}

/** Answer to `receive`: the inbox row is committed and synced when this is here (P1). */
export interface Admission {
  readonly status: 'admitted' | 'duplicate' | 'ignored'
  /** Our id of the message. */
  readonly messageId: string
  readonly conversationId: string
}

/** The text parts of a message, joined by line breaks. */
export function textOf(parts: readonly Part[]): string {
  return parts
    .filter((part) => part.type === 'text')
    .map((part) => part.text)
    .join('\n')
}

/** Reads a leading `/name argument`; `/name@username` counts only when `username` is ours. Undefined if the text is no command. */
export function parseCommand(text: string, ourUsername?: string): Command | undefined {
  const match = /^\/([a-z][a-z0-9_]{0,31})(?:@(\w{1,64}))?(?:\s+([\s\S]*))?$/i.exec(text.trim())
  if (!match?.[1]) return undefined
  if (match[2] && match[2].toLowerCase() !== ourUsername?.toLowerCase()) return undefined
  return { name: match[1].toLowerCase(), argument: (match[3] ?? '').trim() }
}
