/** One gateway process between an emulated chat tool and an emulated model, for each way in which the tools of the first wave are connected. */
import {
  createDingtalkEmulator,
  createDiscordEmulator,
  createFeishuEmulator,
  createModelEmulator,
  createSlackEmulator,
  createWecomEmulator,
  dingtalkStage,
  discordStage,
  type Fault,
  feishuStage,
  type ModelEmulator,
  type Said,
  type Stage,
  slackStage,
  wecomStage,
} from '@posthouse/testkit'
import { createPosthouse, until } from '../journeys/posthouse.ts'
import { freePort } from '../ports.ts'
import { marksIn } from './auditor.ts'
import { type Crowd, createCrowd, type Ground } from './crowd.ts'
import type { Play } from './row.ts'
import { answerOf, createGateway } from './world.ts'

interface Post {
  readonly text: string
  /** It still grows. */
  readonly streaming?: boolean | 'in_progress' | 'completed'
}

/** A message on its way to the gateway; `kept`: that was connected, and lived on for a while. */
interface Handed {
  readonly number: number
  kept: boolean
}

/** A platform with what makes it misbehave. */
interface Tool extends AsyncDisposable {
  readonly emulator: { readonly pending: number; failNext(method: string, fault: Fault): void; dropReplyOf(method: string): void }
  readonly stage: Stage<Post, string>
  readonly channel: string
  readonly account: object
  /** Its call that posts a message, and how it says that there were too many. */
  readonly send: string
  readonly busy: Fault
  /** Whether it keeps a second send from being seen, or tells whether the first was. */
  readonly knowsRepeats: boolean
  /** Tells it where the webhook is. */
  subscribe?(url: string): unknown
  /** Before its first connection it hands over nothing, and keeps nothing. */
  readonly connected?: () => boolean
  /** Numbers of the messages that it was told are taken; unless given, of all that it no longer hands over. */
  readonly taken?: (handed: readonly Handed[], model: ModelEmulator) => readonly number[]
}

/** Milliseconds in which a living gateway has committed what it was handed. */
const TIME_TO_COMMIT = 1000
const numbersIn = (texts: readonly string[]) => texts.flatMap((text) => marksIn(text).map(({ number }) => number))

/** Where previews only grow they carry no sign of it: a slow answer says itself where it ends. */
function isUnfinished({ text, streaming = false }: Post): boolean {
  return streaming === true || streaming === 'in_progress' || (/p1 and on\b/.test(text) && !/there\.\s*$/.test(text))
}

const BUSY: Fault = { status: 429, retryAfter: 1 }
/** Of what is repeated. */
const SOON = { retryDelay: 100, maxRetryDelay: 1000 }

async function feishu(mode: 'webhook' | 'socket'): Promise<Tool> {
  const encrypt_key = 'chaos-encrypt-key'
  const emulator = await createFeishuEmulator({ ...SOON, ...(mode === 'webhook' ? { encrypt_key } : {}) })
  const { app_id, app_secret, verification_token, url: base_url } = emulator
  return {
    emulator,
    stage: feishuStage(emulator),
    channel: 'feishu',
    account: { app_id, app_secret, base_url, ...(mode === 'webhook' ? { mode, verification_token, encrypt_key } : {}) },
    send: 'im.message.create',
    busy: BUSY,
    knowsRepeats: true,
    ...(mode === 'webhook' ? { subscribe: emulator.subscribe } : {}),
    [Symbol.asyncDispose]: () => emulator[Symbol.asyncDispose](),
  }
}

async function dingtalk(): Promise<Tool> {
  const emulator = await createDingtalkEmulator(SOON)
  const { client_id, client_secret, card_template_id, url } = emulator
  return {
    emulator,
    stage: dingtalkStage(emulator),
    channel: 'dingtalk',
    account: { client_id, client_secret, card_template_id, base_url: url, old_base_url: url },
    send: 'robot.sendBySession',
    busy: { status: 403, description: 'Forbidden.AccessDenied.QpsLimitForApi', retryAfter: 1 },
    knowsRepeats: false,
    // A robot's message comes once.
    taken: () =>
      numbersIn(emulator.attempts.filter(({ status }) => status === 200).map(({ event, attempt }) => String(event.request(attempt).body))),
    [Symbol.asyncDispose]: () => emulator[Symbol.asyncDispose](),
  }
}

async function wecom(mode: 'app' | 'bot'): Promise<Tool> {
  const emulator = await createWecomEmulator({ ...SOON, mode, attempts: 100 })
  const { corp_id, agent_id, secret, token, encoding_aes_key, bot_id, url: base_url, ws_url } = emulator
  const of = mode === 'app' ? { corp_id, agent_id, secret, token, encoding_aes_key } : { bot_id, secret }
  return {
    emulator,
    stage: wecomStage(emulator),
    channel: 'wecom',
    account: { mode, ...of, base_url, ws_url },
    send: mode === 'app' ? 'message/send' : 'aibot_respond_msg',
    busy: { status: 45009, description: 'api freq out of limit' },
    knowsRepeats: false,
    // A bot's message comes once and is not acknowledged: what the model was asked was taken for sure, and so was what had time to be.
    ...(mode === 'app'
      ? { subscribe: emulator.subscribe }
      : {
          connected: () => emulator.connections === 1,
          taken: (handed: readonly Handed[], { calls }: ModelEmulator) => [
            ...handed.flatMap(({ number, kept }) => (kept ? [number] : [])),
            ...numbersIn(calls.map(({ question }) => question?.text ?? '')),
          ],
        }),
    [Symbol.asyncDispose]: () => emulator[Symbol.asyncDispose](),
  }
}

async function slack(): Promise<Tool> {
  const emulator = await createSlackEmulator(SOON)
  const { botToken: bot_token, appToken: app_token, url: base_url } = emulator
  return {
    emulator,
    stage: slackStage(emulator),
    channel: 'slack',
    account: { bot_token, app_token, base_url },
    send: 'chat.postMessage',
    busy: BUSY,
    knowsRepeats: true,
    [Symbol.asyncDispose]: () => emulator[Symbol.asyncDispose](),
  }
}

async function discord(): Promise<Tool> {
  const emulator = await createDiscordEmulator({ heartbeat: 200, identifyEvery: 0 })
  const { token, url: base_url } = emulator
  return {
    emulator,
    stage: discordStage(emulator),
    channel: 'discord',
    account: { token, base_url },
    send: 'createMessage',
    busy: BUSY,
    knowsRepeats: true,
    connected: () => emulator.connected === 1,
    [Symbol.asyncDispose]: () => emulator[Symbol.asyncDispose](),
  }
}

export const tools: Readonly<Record<string, () => Promise<Tool>>> = {
  'Feishu, webhook': () => feishu('webhook'),
  'Feishu, socket': () => feishu('socket'),
  'DingTalk, stream': dingtalk,
  'WeCom, app': () => wecom('app'),
  'WeCom, bot': () => wecom('bot'),
  'Slack, socket': slack,
  'Discord, gateway': discord,
}

export interface ChannelWorld extends Crowd<Said>, AsyncDisposable, Pick<Tool, 'send' | 'busy' | 'emulator' | 'knowsRepeats'> {
  start(): Promise<void>
  /** kill -9. */
  kill(): Promise<void>
  /** An administrator's question to the running gateway. */
  admin<T>(path: string): Promise<T>
}

/** Makes the world of one of `tools`; the gateway does not run yet. */
export async function createChannelWorld({ seed, part, mutant, patience }: Play): Promise<ChannelWorld> {
  const open = tools[part]
  if (!open) throw new Error(`there is no "${part}"`)
  await using parts = new AsyncDisposableStack()
  const tool = parts.use(await open())
  const { stage, channel, emulator, send, busy, knowsRepeats } = tool
  const pace = { firstToken: 30, interval: 10, chunks: 6 }
  const model = parts.use(await createModelEmulator({ keys: 'any', models: 'any', pace, reply: answerOf }))
  const port = await freePort()
  const posthouse = parts.use(
    createPosthouse({
      server: { port, public_url: `http://127.0.0.1:${port}` },
      models: { endpoints: { main: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
      assistant: { burst: 'one-by-one' },
      channels: { [channel]: { ...tool.account, send_rate: 1000, room_send_rate: 1000 } },
    }),
  )
  const { start, ...gateway } = createGateway(posthouse, mutant)
  const chats = new Set<number>()
  const placeOf = (chat: number) => ({ kind: 'private' as const, name: `person${chat}` })
  const handed: (Handed & { readonly at: number })[] = []
  const ground: Ground<Said> = {
    say({ chat }, text) {
      chats.add(chat)
      const number = handed.length + 1
      handed.push({ number, at: performance.now(), kept: tool.connected?.() ?? true })
      return { update: number, said: stage.say(placeOf(chat).name, placeOf(chat), text, {}) }
    },
    posted: (chat) =>
      (chat === undefined ? [...chats] : [chat]).flatMap((one) =>
        stage.posted(placeOf(one)).map((post) => ({ chat: one, text: isUnfinished(post) ? `${post.text}…` : post.text })),
      ),
    get confirmed() {
      return new Set(tool.taken?.(handed, model) ?? (emulator.pending === 0 ? handed.map(({ number }) => number) : []))
    },
    get pending() {
      return emulator.pending
    },
    // The first call of the model for each tells when its turn was; the order of lanes is held by the rows on Telegram, which hands over in order.
    get order() {
      return [
        ...new Set(
          model.calls.flatMap(({ question }) =>
            marksIn(question?.text ?? '')
              .slice(-1)
              .map(({ number }) => number),
          ),
        ),
      ]
    },
    forgets: tool.taken !== undefined,
  }
  const crowd = createCrowd({ seed, ground, ...gateway, toolLedgers: () => [], patience })
  let begun = false
  const built = parts.move()
  return {
    ...crowd,
    emulator,
    send,
    busy,
    knowsRepeats,
    admin: gateway.admin,
    async kill() {
      for (const message of handed) if (message.at > performance.now() - TIME_TO_COMMIT) message.kept = false
      await posthouse.kill()
    },
    async start() {
      await start()
      if (begun) return
      begun = true
      await tool.subscribe?.(`${posthouse.url}/api/webhook/${channel}`)
      await until(() => tool.connected?.() ?? true, 'it is connected')
    },
    [Symbol.asyncDispose]: () => built.disposeAsync(),
  }
}
