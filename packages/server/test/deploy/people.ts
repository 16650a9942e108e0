/** People behind a balancer: callers of the API, and open pages that come back by themselves. They note what they see and what fails. */
import { randomUUID } from 'node:crypto'
import type { ServerFrame } from '@posthouse/contract/http'
import { Agent, request } from 'undici'
import { WebSocket } from 'ws'

/** One request to somebody whose certificate is `ca`. */
export async function askOnce(
  url: string,
  ca: string,
  options: Parameters<typeof request>[1] = {},
): Promise<{ readonly status: number; readonly text: string }> {
  const agent = new Agent({ connect: { ca } })
  try {
    const { statusCode: status, body } = await request(url, { ...options, dispatcher: agent })
    return { status, text: await body.text() }
  } finally {
    await agent.destroy()
  }
}

export interface Caller extends AsyncDisposable {
  /** Questions that were answered. */
  readonly answered: number
  /** What was said instead of an answer. */
  readonly failures: readonly { readonly at: number; readonly what: string }[]
  ask(path: string, body: object): Promise<{ readonly status: number; readonly body: AsyncIterable<Buffer> }>
}

/** Asks one question after the other over the API, so many at a time, until it is disposed. */
export function callAgainAndAgain(url: string, token: string, ca: string, atOnce: number): Caller {
  const agent = new Agent({ connect: { ca } })
  const failures: { at: number; what: string }[] = []
  let answered = 0
  let ended = false
  const ask: Caller['ask'] = async (path, body) => {
    const { statusCode: status, body: answer } = await request(`${url}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      dispatcher: agent,
    })
    return { status, body: answer }
  }
  const loop = async (caller: number) => {
    for (let count = 0; !ended; count++) {
      const query = `question ${caller}-${count}`
      try {
        const { status, body } = await ask('/api/v1/chat', { query })
        let text = ''
        for await (const chunk of body) text += chunk.toString()
        if (status !== 200) failures.push({ at: performance.now(), what: `${status} ${text.slice(0, 200)}` })
        else if ((JSON.parse(text) as { answer: string }).answer === `You said: ${query}`) answered++
        else failures.push({ at: performance.now(), what: `wrong answer: ${text.slice(0, 200)}` })
      } catch (error) {
        failures.push({ at: performance.now(), what: String(error) })
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
  }
  const loops = Array.from({ length: atOnce }, (_, caller) => loop(caller))
  return {
    get answered() {
      return answered
    },
    failures,
    ask,
    async [Symbol.asyncDispose]() {
      ended = true
      await Promise.all(loops)
      await agent.destroy()
    },
  }
}

export interface OpenPage {
  /** Answers that were seen, by the id of the message. */
  readonly answers: ReadonlyMap<string, string>
  readonly connections: number
  /** Sends a question; it is sent again under the same id until it is accepted. Resolves with the answer. */
  ask(text: string): Promise<string>
  close(): void
}

/** Silence after which a page asks whether anybody is there, and takes the line for gone: hurried, the web chat has 15 and 40 s. */
const [QUIET, GONE] = [1000, 4000]

/** A page with one conversation: comes back when the line is gone, and goes on after the last message that it has. */
export function openPage(url: string, token: string, ca: string): OpenPage {
  const conversation = randomUUID()
  const answers = new Map<string, string>()
  const waiting = new Map<string, { readonly text: string; accepted: boolean; readonly resolve: (answer: string) => void }>()
  let socket: WebSocket | undefined
  let connections = 0
  let last = 0
  let closed = false
  const say = (frame: object) => socket?.readyState === WebSocket.OPEN && socket.send(JSON.stringify(frame))
  const send = (id: string, text: string) => say({ type: 'send', id, conversation_id: conversation, text })
  let heard = performance.now()
  const hear = (frame: ServerFrame) => {
    heard = performance.now()
    if (frame.type === 'synced') for (const [id, { text, accepted }] of waiting) if (!accepted) send(id, text)
    if (frame.type === 'accepted') {
      const question = waiting.get(frame.id)
      if (question) question.accepted = true
    }
    if (frame.type !== 'message') return
    const { id, seq, role, text } = frame.message
    last = Math.max(last, seq)
    if (role !== 'assistant') return
    answers.set(id, text)
    for (const [own, question] of waiting) {
      if (text !== `You said: ${question.text}`) continue
      waiting.delete(own)
      question.resolve(text)
    }
  }
  const connect = () => {
    if (closed) return
    const opened = new WebSocket(`${url.replace('https', 'wss')}/ws`, { headers: { authorization: `Bearer ${token}` }, ca })
    socket = opened
    heard = performance.now()
    opened.on('open', () => {
      connections++
      say({ type: 'subscribe', conversation_id: conversation, after: last })
    })
    opened.on('message', (data) => hear(JSON.parse(String(data)) as ServerFrame))
    opened.on('error', () => {})
    opened.on('close', () => setTimeout(connect, 100))
  }
  const watch = setInterval(() => {
    const silence = performance.now() - heard
    if (silence > GONE) socket?.terminate()
    else if (silence > QUIET) say({ type: 'ping' })
  }, QUIET)
  connect()
  return {
    answers,
    get connections() {
      return connections
    },
    ask(text) {
      const id = randomUUID()
      const { promise, resolve } = Promise.withResolvers<string>()
      waiting.set(id, { text, accepted: false, resolve })
      send(id, text)
      return promise
    },
    close() {
      closed = true
      clearInterval(watch)
      socket?.terminate()
    },
  }
}

export interface AskingPages extends AsyncDisposable {
  /** Questions so far. */
  readonly asked: number
  /** The last question of each is answered; then they are closed. What they saw: times in milliseconds. */
  end(): Promise<{
    readonly asked: number
    readonly answered: number
    readonly doubled: number
    readonly cameBack: number
    readonly longest: number
  }>
}

/** Opens so many pages at each place; each asks one question after the other until the end. */
export function askOnPages(
  places: readonly { readonly url: string; readonly token: string; readonly ca?: string }[],
  each: number,
): AskingPages {
  const pages = places.flatMap(({ url, token, ca = '' }) => Array.from({ length: each }, () => openPage(url, token, ca)))
  let ended = false
  let asked = 0
  let longest = 0
  const asking = pages.map(async (page) => {
    while (!ended) {
      const began = performance.now()
      await page.ask(`question ${++asked} of a page`)
      longest = Math.max(longest, performance.now() - began)
    }
  })
  const close = () => {
    ended = true
    for (const page of pages) page.close()
  }
  return {
    get asked() {
      return asked
    },
    async end() {
      ended = true
      await Promise.all(asking)
      close()
      const seen = pages.map(({ answers }) => [...answers.values()])
      return {
        asked,
        answered: seen.reduce((sum, texts) => sum + texts.length, 0),
        doubled: seen.reduce((sum, texts) => sum + texts.length - new Set(texts).size, 0),
        cameBack: pages.reduce((sum, { connections }) => sum + connections - 1, 0),
        longest,
      }
    },
    [Symbol.asyncDispose]: async () => close(),
  }
}
