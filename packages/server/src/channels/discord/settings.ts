/** The settings of a Discord account, in Discord's own words. */
import type { Schema } from '@posthouse/contract'

export interface DiscordSettings {
  readonly token: string
  readonly application_id?: string
  readonly public_key?: string
  readonly mode: 'gateway' | 'webhook'
  readonly register_commands: boolean
  readonly base_url: string
  readonly allowed_users?: readonly string[]
}

export const settings: Schema<DiscordSettings> = {
  required: ['token'],
  fields: {
    token: {
      type: 'string',
      format: 'secret',
      pattern: '^[A-Za-z0-9_.-]{8,200}$',
      description: {
        en: 'The bot token: Discord Developer Portal, your application, "Bot", "Reset Token".',
        zh: '机器人令牌：Discord Developer Portal 中你的应用，“Bot”页面，“Reset Token”。',
      },
      examples: ['$' + '{env:DISCORD_TOKEN}'],
    },
    mode: {
      type: 'string',
      enum: ['gateway', 'webhook'],
      default: 'gateway',
      description: {
        en: 'How messages arrive: "gateway" hears everything and works everywhere; "webhook" hears slash commands and buttons only, and needs public_key and server.public_url.',
        zh: '接收方式：gateway 可收到全部消息，随处可用；webhook 只收斜杠命令和按钮，需要 public_key 和 server.public_url。',
      },
    },
    public_key: {
      type: 'string',
      pattern: '^[0-9a-fA-F]{64}$',
      description: {
        en: 'The key by which interactions are proven: Developer Portal, "General Information", "Public Key". Required for mode "webhook".',
        zh: '用于验证交互请求的公钥：Developer Portal 的“General Information”页面，“Public Key”。webhook 模式必填。',
      },
    },
    application_id: {
      type: 'string',
      pattern: '^[0-9]{1,20}$',
      description: {
        en: 'The id of the application; asked of Discord unless given. Interactions of another application are refused.',
        zh: '应用 ID；不填则向 Discord 查询。其他应用的交互请求会被拒绝。',
      },
    },
    register_commands: {
      type: 'boolean',
      default: true,
      description: {
        en: 'Offers /ask, /help, /new, /model and /stop as slash commands. Other commands of the application stay.',
        zh: '注册斜杠命令 /ask、/help、/new、/model 和 /stop。应用已有的其他命令保持不变。',
      },
    },
    base_url: {
      type: 'string',
      format: 'url',
      default: 'https://discord.com/api/v10',
      description: {
        en: 'Address of the API with its version; change it for a proxy.',
        zh: '带版本号的 API 地址；使用代理时修改。',
      },
    },
    allowed_users: {
      type: 'array',
      items: { type: 'id' },
      description: {
        en: 'Ids of the people who may write, in quotes (they are longer than a number in YAML can be); everybody else is told once that access is denied.',
        zh: '允许使用者的 ID，请加引号（其位数超出 YAML 数字的范围）；其他人会收到一次拒绝通知。',
      },
      examples: [['80351110224678912']],
    },
  },
  check: ({ mode, public_key }) =>
    mode === 'webhook' && !public_key
      ? [
          {
            field: 'public_key',
            problem: {
              en: 'is required when mode is "webhook": without it anybody could send commands in the name of Discord',
              zh: 'mode 为 "webhook" 时必填：否则任何人都可以冒充 Discord 发送命令',
            },
          },
        ]
      : [],
}
