/**
 * An AI bot that is called: its answer opens a stream, and while that is not finished the platform asks again and again how far it is, for six
 * minutes from when somebody spoke. What it answers must be sealed and signed as the platform itself does.
 * https://developer.work.weixin.qq.com/document/path/100719, /101031, /101033
 */
import { createHash } from 'node:crypto'
import type { Faults } from '../faults.ts'
import { pause } from '../pause.ts'
import { type Calls, openAsWecom, type Subscription } from './calls.ts'
import { show, type World } from './methods.ts'
import type { Bot } from './sockets.ts'
import { newId, showMarkdown, type WecomPost } from './store.ts'

export interface Polling {
  /** Milliseconds between two questions how far an answer is. */
  readonly pollEvery: number
  /** Milliseconds for which a message may be answered at its address. */
  readonly urlLife: number
}

export interface Polls extends AsyncDisposable {
  /** Calls with what somebody did; answers an id for repeating it. */
  say(body: Body, at: number): string
  /** What calls and files are sealed with. */
  readonly key: Buffer
  readonly refused: readonly string[]
  readonly count: number
}

interface Body {
  readonly msgid: string
  readonly aibotid: string | undefined
  readonly chattype: string
  readonly chatid?: string
  readonly from: { readonly userid: string }
  readonly msgtype?: string
}

interface Stream {
  readonly about: Body
  readonly at: number
  post: WecomPost | undefined
  finished: boolean
}

/** Bytes. */
const MOST_TEXT = 20_480

export function createPolls(
  { token, encoding_aes_key, streamLife, pollEvery, urlLife }: Subscription & Bot & Polling,
  world: World,
  calls: Calls,
  { url, faults }: { url(): string; faults(): Faults },
): Polls {
  const closing = new AbortController()
  const streams = new Map<string, Stream>()
  const refused: string[] = []
  const polling = new Set<Promise<void>>()
  let count = 0

  /** What stands in an answer. @throws Error */
  const open = (answer: string, nonce: string): Record<string, unknown> => {
    const { encrypt, msgsignature, timestamp, nonce: given } = JSON.parse(answer) as Record<string, unknown>
    if (typeof encrypt !== 'string' || typeof timestamp !== 'number' || given !== nonce) throw new Error('encrypt, timestamp or nonce')
    const signed = createHash('sha1')
      .update([token, String(timestamp), nonce, encrypt].sort().join(''))
      .digest('hex')
    if (signed !== msgsignature) throw new Error('msgsignature')
    return JSON.parse(openAsWecom(encoding_aes_key, encrypt, '')) as Record<string, unknown>
  }

  /** @throws Error */
  const read = (given: Record<string, unknown>, wanted?: string) => {
    const { id, finish = false, content = '' } = (given.stream ?? {}) as Record<string, unknown>
    if (given.msgtype !== 'stream') throw new Error(`msgtype ${String(given.msgtype)}`)
    if (typeof id !== 'string' || id === '' || (wanted !== undefined && id !== wanted)) throw new Error('stream.id')
    if (typeof content !== 'string' || Buffer.byteLength(content) > MOST_TEXT) throw new Error('stream.content is too long')
    if (typeof finish !== 'boolean' || (finish && content.trim() === '')) throw new Error('stream.finish')
    return { id, finish, content }
  }

  const put = (stream: Stream, { finish, content }: ReturnType<typeof read>) => {
    stream.finished = finish
    const { post } = stream
    if (!post && content !== '') {
      const { msgid, chatid, from } = stream.about
      const made = { id: newId(), room: chatid ?? from.userid, msgtype: 'stream', source: content, streaming: !finish, reply_to: msgid }
      stream.post = show(world, made, true)
    } else if (post && (post.source !== content || finish)) {
      post.source = content
      post.text = showMarkdown(content, true)
      post.streaming = !finish
      post.edits.push({ at: Date.now(), text: post.text })
      world.changed(post)
    }
  }

  /** Judges an answer; one that is refused is as good as none. `lost`: it never reached the platform. */
  const judge = (work: () => void, lost: boolean): boolean => {
    if (lost) return false
    try {
      work()
      return true
    } catch (error) {
      refused.push(String(error))
      return false
    }
  }

  const poll = async (id: string, stream: Stream) => {
    while (!stream.finished) {
      await pause(pollEvery, closing.signal)
      if (closing.signal.aborted) return
      if (Date.now() - stream.at > streamLife) break
      count++
      const { about } = stream
      const inner = JSON.stringify({ ...about, msgid: newId(), msgtype: 'stream', stream: { id } })
      await calls.ask(inner, (answer, nonce) => judge(() => put(stream, read(open(answer, nonce), id)), faults().takeDrop('poll')))
    }
    if (stream.post?.streaming) {
      stream.post.streaming = false
      world.changed(stream.post)
    }
  }

  return {
    refused,
    key: Buffer.from(`${encoding_aes_key}=`, 'base64'),
    get count() {
      return count
    },
    say(body, at) {
      const { msgid, aibotid, chattype, chatid, from, msgtype } = body
      const code = newId()
      world.store.codes.set(code, { room: chatid ?? from.userid, msgid, until: Date.now() + urlLife, used: false })
      const spoken = { ...body, response_url: `${url()}/cgi-bin/aibot/response?response_code=${code}` }
      const about = { msgid, aibotid, chattype, ...(chatid ? { chatid } : {}), from }
      return calls.emit(chatid ?? from.userid, JSON.stringify(spoken), (answer, nonce) =>
        judge(() => {
          if (answer === '') return
          if (msgtype === 'event') throw new Error('an event is answered with a stream')
          const given = read(open(answer, nonce))
          const known = streams.get(given.id)
          if (known && known.about.msgid !== msgid) throw new Error('stream.id stands for another message')
          if (known) return
          const stream: Stream = { about, at, post: undefined, finished: false }
          streams.set(given.id, stream)
          put(stream, given)
          const work = poll(given.id, stream).finally(() => polling.delete(work))
          polling.add(work)
        }, faults().takeDrop('callback')),
      )
    },
    async [Symbol.asyncDispose]() {
      closing.abort()
      await Promise.all(polling)
    },
  }
}
