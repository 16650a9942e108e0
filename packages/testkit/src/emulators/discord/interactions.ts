/**
 * Interactions: a token for fifteen minutes, three seconds for the first word, and an endpoint that must prove that it checks signatures.
 * https://docs.discord.com/developers/interactions/receiving-and-responding
 */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { newToken } from './store.ts'

export interface Interaction {
  readonly id: string
  readonly token: string
  readonly channel: string
  /** 2: a slash command. 3: a pressed button. */
  readonly type: number
  /** Milliseconds of `performance.now()`. */
  readonly at: number
  /** How it was answered first. */
  first?: number
  /** Message id of the answer. */
  original?: string
  /** No answer came in time, or one that Discord does not take. */
  failed?: boolean
  /** By which way the first answer came. */
  by?: 'call' | 'endpoint'
}

export interface Interactions {
  readonly publicKey: string
  readonly all: Interaction[]
  readonly endpoint: string | undefined
  open(id: string, channel: string, type: number): Interaction
  /** The one with this token, as long as it may still be answered. */
  find(token: string): Interaction | undefined
  /** @throws Error with the code of the refusal */
  acknowledge(interaction: Interaction, type: unknown, by: 'call' | 'endpoint'): void
  /** Whether this address may become the endpoint: it answers PING, and refuses what is signed wrongly. */
  verify(url: string): Promise<boolean>
  setEndpoint(url: string | undefined): void
  /** Calls the endpoint with a body of any form, signed now or at another time (epoch milliseconds), with headers as they are changed. */
  post(
    body: string,
    change?: (headers: Record<string, string>) => Record<string, string>,
    at?: number,
  ): Promise<{ status: number; body: string; type: string }>
}

/** Milliseconds. */
const FIRST_WORD = 3000

export function createInteractions(options: { readonly application: string; readonly tokenLife?: number }): Interactions {
  const { tokenLife = 900_000 } = options
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const all: Interaction[] = []
  let endpoint: string | undefined

  const signed = (body: string, key: KeyObject, at = Date.now()): Record<string, string> => {
    const time = String(Math.floor(at / 1000))
    return {
      'content-type': 'application/json',
      'user-agent': 'Discord-Interactions/1.0 (+https://discord.com)',
      'x-signature-ed25519': sign(null, Buffer.from(time + body), key).toString('hex'),
      'x-signature-timestamp': time,
    }
  }
  const call = async (url: string, body: string, headers: Record<string, string>) => {
    const answer = await fetch(url, { method: 'POST', body, headers, redirect: 'manual', signal: AbortSignal.timeout(FIRST_WORD) }).catch(
      () => undefined,
    )
    if (!answer) return { status: 0, body: '', type: '' }
    return { status: answer.status, body: await answer.text(), type: answer.headers.get('content-type') ?? '' }
  }

  const interactions: Interactions = {
    publicKey: publicKey.export({ format: 'der', type: 'spki' }).subarray(-32).toString('hex'),
    all,
    get endpoint() {
      return endpoint
    },
    open(id, channel, type) {
      const interaction: Interaction = { id, token: newToken(), channel, type, at: performance.now() }
      all.push(interaction)
      return interaction
    },
    find: (token) =>
      all.find(
        (each) =>
          each.token === token &&
          performance.now() - each.at < tokenLife &&
          (each.first !== undefined || performance.now() - each.at < FIRST_WORD),
      ),
    acknowledge(interaction, type, by) {
      if (interaction.first !== undefined) throw new Error('40060')
      if (![4, 5, 6, 7, 8].includes(Number(type)) || ((type === 6 || type === 7) && interaction.type !== 3)) throw new Error('50035')
      interaction.first = Number(type)
      interaction.by = by
    },
    async verify(url) {
      const ping = JSON.stringify({ type: 1, id: '1', application_id: options.application, token: 'x', version: 1 })
      const right = await call(url, ping, signed(ping, privateKey))
      const wrong = await call(url, ping, signed(ping, generateKeyPairSync('ed25519').privateKey))
      return right.status === 200 && /json/.test(right.type) && /"type"\s*:\s*1\b/.test(right.body) && wrong.status === 401
    },
    setEndpoint(url) {
      endpoint = url
    },
    post: (body, change = (headers) => headers, at = Date.now()) => call(endpoint ?? '', body, change(signed(body, privateKey, at))),
  }
  return interactions
}
