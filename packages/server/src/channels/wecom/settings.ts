/** What is to be set for WeCom, in the words of its admin console, as data. */
import type { Schema } from '@posthouse/contract'

export interface WecomSettings {
  readonly mode: 'app' | 'bot' | 'bot-webhook' | 'robot'
  readonly corp_id?: string
  readonly agent_id?: number
  readonly secret?: string
  readonly token?: string
  readonly encoding_aes_key?: string
  readonly bot_id?: string
  readonly key?: string
  readonly base_url: string
  readonly ws_url: string
  readonly allowed_users?: readonly string[]
}

/** What each mode cannot do without. */
const NEEDED = {
  app: ['corp_id', 'agent_id', 'secret', 'token', 'encoding_aes_key'],
  bot: ['bot_id', 'secret'],
  'bot-webhook': ['token', 'encoding_aes_key'],
  robot: ['key'],
} as const

export const settings: Schema<WecomSettings> = {
  required: [],
  fields: {
    mode: {
      type: 'string',
      enum: ['app', 'bot', 'bot-webhook', 'robot'],
      default: 'app',
      description: {
        en: '"app": an app of your organization, called at server.public_url. "bot": an AI bot by its long connection, which needs no public address. "bot-webhook": an AI bot that is called at server.public_url. "robot": a group robot, which only sends.',
        zh: 'app：企业自建应用，平台回调 server.public_url；bot：智能机器人长连接，无需公网地址；bot-webhook：智能机器人，平台回调 server.public_url；robot：群机器人，只发送。',
      },
    },
    corp_id: {
      type: 'string',
      pattern: '^[0-9A-Za-z_-]+$',
      description: {
        en: 'Enterprise ID (CorpID), from "My Company". For mode "app".',
        zh: '企业 ID（CorpID），见“我的企业”。用于 app 模式。',
      },
      examples: ['ww1a2b3c4d5e6f7890'],
    },
    agent_id: {
      type: 'integer',
      minimum: 1,
      description: { en: 'AgentId of the app. For mode "app".', zh: '应用的 AgentId。用于 app 模式。' },
      examples: [1000002],
    },
    secret: {
      type: 'string',
      format: 'secret',
      description: {
        en: 'Secret of the app (mode "app") or of the AI bot (mode "bot").',
        zh: '应用的 Secret（app 模式）或智能机器人的 Secret（bot 模式）。',
      },
      examples: ['$' + '{env:WECOM_SECRET}'],
    },
    token: {
      type: 'string',
      format: 'secret',
      description: {
        en: 'Token of "Receive messages": calls are signed with it. For modes "app" and "bot-webhook".',
        zh: '“接收消息”中的 Token，平台用它签名每次调用。用于 app 与 bot-webhook 模式。',
      },
    },
    encoding_aes_key: {
      type: 'string',
      format: 'secret',
      pattern: '^[0-9A-Za-z+/]{43}$',
      description: {
        en: 'EncodingAESKey of "Receive messages", 43 characters: calls are sealed with it. For modes "app" and "bot-webhook".',
        zh: '“接收消息”中的 EncodingAESKey，43 个字符，平台用它加密每次调用。用于 app 与 bot-webhook 模式。',
      },
    },
    bot_id: {
      type: 'string',
      description: {
        en: 'Bot ID of the AI bot. For mode "bot"; in mode "bot-webhook", if set, calls for another bot are refused.',
        zh: '智能机器人的 Bot ID。用于 bot 模式；bot-webhook 模式下填写后，拒绝发给其他机器人的回调。',
      },
    },
    key: {
      type: 'string',
      format: 'secret',
      description: {
        en: 'What stands behind "key=" in the group robot\'s webhook address. For mode "robot".',
        zh: '群机器人 Webhook 地址中 key= 之后的部分。用于 robot 模式。',
      },
    },
    base_url: {
      type: 'string',
      format: 'url',
      default: 'https://qyapi.weixin.qq.com',
      description: {
        en: 'Address of the API, if it is another one: a proxy, an emulator.',
        zh: 'API 地址；使用代理或模拟器时填写。',
      },
    },
    ws_url: {
      type: 'string',
      pattern: '^wss?://',
      default: 'wss://openws.work.weixin.qq.com',
      description: {
        en: 'Address of the long connection, if it is another one.',
        zh: '长连接地址；使用代理或模拟器时填写。',
      },
    },
    allowed_users: {
      type: 'array',
      items: { type: 'id' },
      description: {
        en: 'UserIDs of the people who may write; everybody else is told once that access is denied.',
        zh: '允许使用者的 UserID；其他人会收到一次拒绝通知。',
      },
      examples: [['ZhangSan']],
    },
  },
  check: (given) =>
    NEEDED[given.mode]
      .filter((field) => given[field] === undefined || given[field] === '')
      .map((field) => ({
        field,
        problem: { en: `is required when mode is "${given.mode}"`, zh: `mode 为 "${given.mode}" 时必须填写` },
      })),
}
