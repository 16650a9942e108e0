/** A real gateway process between the emulated Telegram and an emulated model server, for stories. */
import assert from 'node:assert/strict'
import {
  createModelEmulator,
  createStory,
  createTelegramEmulator,
  type ModelEmulator,
  type ModelPace,
  type PostedMessage,
  type Story,
  type TelegramEmulator,
  telegramStage,
} from '@posthouse/testkit'
import { createPosthouse, type Posthouse, until } from './posthouse.ts'

interface Scene {
  readonly telegram: TelegramEmulator
  readonly model: ModelEmulator
  readonly posthouse: Posthouse
  readonly story: Story<PostedMessage>
  /** Saves a configuration in which these people may write, while the gateway runs. */
  allow(...names: string[]): void
  /** What `posthouse ... --json` says. */
  cli<T>(...args: string[]): Promise<T>
}

interface SceneOptions {
  readonly account?: object
  readonly assistant?: object
  readonly server?: object
  readonly pace?: ModelPace
  readonly env?: NodeJS.ProcessEnv
  /** Names of the people who may write; everybody unless given. */
  readonly allowed?: readonly string[]
  /** Calls that Telegram is expected to refuse as wrong. */
  readonly refusals?: readonly string[]
}

/** Two endpoints, one of which sees pictures; the model says back what it was told, or what `replies` holds for it. */
export async function inScene(options: SceneOptions, play: (scene: Scene) => Promise<void>): Promise<void> {
  await using telegram = await createTelegramEmulator()
  await using model = await createModelEmulator({ keys: 'any', models: 'any', ...(options.pace ? { pace: options.pace } : {}) })
  const stage = telegramStage(telegram)
  const endpoint = (name: string, more: object = {}) => ({ api: 'openai', base_url: `${model.url}/v1`, model: name, ...more })
  const configOf = (allowed: readonly string[] | undefined) => ({
    ...(options.server ? { server: options.server } : {}),
    models: {
      primary: 'main',
      fallback: ['spare'],
      endpoints: { main: endpoint('main'), spare: endpoint('spare'), seer: endpoint('seer', { vision: true }) },
    },
    channels: {
      telegram: {
        token: telegram.token,
        api_root: telegram.url,
        send_rate: 1000,
        room_send_rate: 1000,
        ...(allowed ? { allowed_users: allowed.map((name) => stage.idOf(name)) } : {}),
        ...options.account,
      },
    },
    ...(options.assistant ? { assistant: options.assistant } : {}),
  })
  await using posthouse = createPosthouse(configOf(options.allowed))
  const cli = async <T>(...args: string[]) => {
    const { code, stdout, stderr } = await posthouse.cli(...args, '--json')
    assert.equal(code, 0, stderr)
    return JSON.parse(stdout) as T
  }
  const quiet = () => until(() => telegram.pending === 0 && posthouse.unsettled() === 0, 'everything is done')
  await posthouse.start(options.env)
  const allow = (...names: string[]) => posthouse.configure(configOf(names))
  await play({ telegram, model, posthouse, cli, allow, story: createStory(stage, { quiet }) })
  const refused = telegram.ledger.filter(({ outcome }) => outcome.code === 400).map(({ outcome }) => outcome.description)
  assert.deepEqual(refused, options.refusals ?? [], 'what Telegram refused')
}

/** So slow that it ends only when somebody acts. */
export const endless: ModelPace = { firstToken: 20, interval: 60, chunkSize: 2 }
export const stages = (count: number) => Array.from({ length: count }, (_, index) => `stage ${index + 1}`).join(', ')
export const allTaken = (telegram: TelegramEmulator) => until(() => telegram.pending === 0, 'every update is taken')
export const sendsOf = (telegram: TelegramEmulator) => telegram.ledger.filter(({ method }) => method === 'sendMessage')
