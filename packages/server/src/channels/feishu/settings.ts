/** What is to be set for a Feishu or Lark app, in the words of its developer console, as data. */
import type { Schema } from '@posthouse/contract'

export interface FeishuSettings {
  readonly app_id: string
  readonly app_secret: string
  readonly mode: 'websocket' | 'webhook'
  readonly encrypt_key?: string
  readonly verification_token?: string
  readonly domain: 'feishu' | 'lark'
  readonly base_url?: string
  readonly allowed_users?: readonly string[]
}

const DOMAINS = { feishu: 'https://open.feishu.cn', lark: 'https://open.larksuite.com' } as const

/** Where the open platform is. */
export function rootOf({ domain, base_url }: Pick<FeishuSettings, 'domain' | 'base_url'>): string {
  return (base_url ?? DOMAINS[domain]).replace(/\/+$/, '')
}

export const settings: Schema<FeishuSettings> = {
  required: ['app_id', 'app_secret'],
  fields: {
    app_id: {
      type: 'string',
      pattern: '^cli_[0-9A-Za-z]+$',
      description: {
        en: 'App ID, from "Credentials & Basic Info" in the developer console.',
        zh: 'App ID，见开发者后台“凭证与基础信息”。',
      },
      examples: ['cli_a1b2c3d4e5f60718'],
    },
    app_secret: {
      type: 'string',
      format: 'secret',
      description: { en: 'App Secret, from the same page.', zh: 'App Secret，见同一页面。' },
      examples: ['$' + '{env:FEISHU_APP_SECRET}'],
    },
    mode: {
      type: 'string',
      enum: ['websocket', 'webhook'],
      default: 'websocket',
      description: {
        en: 'How messages arrive: "websocket" is the long connection, which needs no public address; "webhook" needs server.public_url and encrypt_key or verification_token.',
        zh: '接收方式：websocket 为长连接，无需公网地址；webhook 需要 server.public_url，以及 encrypt_key 或 verification_token。',
      },
    },
    encrypt_key: {
      type: 'string',
      format: 'secret',
      description: {
        en: 'Encrypt Key, from "Events & Callbacks", "Encryption Strategy": calls are sealed and signed with it. Recommended for mode "webhook".',
        zh: 'Encrypt Key，见“事件与回调”的“加密策略”：平台用它加密并签名每次调用。webhook 模式建议填写。',
      },
    },
    verification_token: {
      type: 'string',
      format: 'secret',
      description: {
        en: 'Verification Token, from the same page: stands in every call. Enough by itself where no Encrypt Key is set.',
        zh: 'Verification Token，见同一页面：每次调用都会携带。未设置 Encrypt Key 时可单独使用。',
      },
    },
    domain: {
      type: 'string',
      enum: ['feishu', 'lark'],
      default: 'feishu',
      description: {
        en: '"feishu" for open.feishu.cn, "lark" for open.larksuite.com.',
        zh: 'feishu 对应 open.feishu.cn，lark 对应 open.larksuite.com。',
      },
    },
    base_url: {
      type: 'string',
      format: 'url',
      description: {
        en: 'Address of the open platform, if it is another one: a proxy, a private deployment, an emulator.',
        zh: '开放平台地址；使用代理、私有化部署或模拟器时填写。',
      },
    },
    allowed_users: {
      type: 'array',
      items: { type: 'id' },
      description: {
        en: 'Open IDs of the people who may write; everybody else is told once that access is denied.',
        zh: '允许使用者的 Open ID；其他人会收到一次拒绝通知。',
      },
      examples: [['ou_7d8a6e6df7621556ce0d21922b676706']],
    },
  },
  check: ({ mode, encrypt_key, verification_token }) =>
    mode === 'webhook' && !encrypt_key && !verification_token
      ? [
          {
            field: 'encrypt_key',
            problem: {
              en: 'or verification_token is required when mode is "webhook": without one of them anybody could send messages in the name of Feishu',
              zh: 'mode 为 "webhook" 时，encrypt_key 与 verification_token 至少填写一项：否则任何人都可以冒充飞书发送消息',
            },
          },
        ]
      : [],
}
