/** What is to be set for a DingTalk app with a robot, or a group's own robot, in the words of its developer console, as data. */
import type { Schema } from '@posthouse/contract'

export interface DingtalkSettings {
  readonly client_id?: string
  readonly client_secret?: string
  readonly mode: 'stream' | 'webhook' | 'robot'
  readonly robot_code?: string
  readonly access_token?: string
  readonly secret?: string
  readonly token?: string
  readonly aes_key?: string
  readonly card_template_id?: string
  readonly card_template_key: string
  readonly base_url: string
  readonly old_base_url: string
  readonly allowed_users?: readonly string[]
}

export const robotOf = ({ robot_code, client_id = '' }: Pick<DingtalkSettings, 'robot_code' | 'client_id'>): string =>
  robot_code ?? client_id

/** What each mode cannot do without. */
const NEEDED = {
  stream: ['client_id', 'client_secret'],
  webhook: ['client_id', 'client_secret'],
  robot: ['access_token'],
} as const

export const settings: Schema<DingtalkSettings> = {
  required: [],
  fields: {
    client_id: {
      type: 'string',
      pattern: '^\\w+$',
      description: {
        en: 'Client ID (formerly AppKey), from "Credentials and Basic Information" in the developer console. For an app.',
        zh: 'Client ID（原 AppKey），见开发者后台“凭证与基础信息”。用于应用。',
      },
      examples: ['dingabc1234567890xyz'],
    },
    client_secret: {
      type: 'string',
      format: 'secret',
      description: {
        en: 'Client Secret (formerly AppSecret), from the same page. For an app.',
        zh: 'Client Secret（原 AppSecret），见同一页面。用于应用。',
      },
      examples: ['$' + '{env:DINGTALK_CLIENT_SECRET}'],
    },
    mode: {
      type: 'string',
      enum: ['stream', 'webhook', 'robot'],
      default: 'stream',
      description: {
        en: 'How messages arrive: "stream" is a connection that we open, which needs no public address; "webhook" (the console calls it HTTP) needs server.public_url; "robot" is a custom robot of one group, which only sends and needs no app.',
        zh: '接收方式：stream 由网关主动建立连接，无需公网地址；webhook（后台称 HTTP 模式）需要 server.public_url；robot 为群内的自定义机器人，只发送，无需应用。',
      },
    },
    robot_code: {
      type: 'string',
      description: {
        en: 'RobotCode, from the page of the robot; unless given, the Client ID, as it is with newer apps.',
        zh: 'RobotCode，见机器人页面；不填则与 Client ID 相同（较新的应用均如此）。',
      },
    },
    access_token: {
      type: 'string',
      format: 'secret',
      description: {
        en: 'What stands behind "access_token=" in the custom robot\'s webhook address. For mode "robot".',
        zh: '自定义机器人 Webhook 地址中 access_token= 之后的部分。用于 robot 模式。',
      },
    },
    secret: {
      type: 'string',
      format: 'secret',
      description: {
        en: 'Secret of the custom robot, if its security settings ask for a signature; it begins with SEC. For mode "robot".',
        zh: '自定义机器人安全设置为“加签”时的密钥，以 SEC 开头。用于 robot 模式。',
      },
    },
    token: {
      type: 'string',
      format: 'secret',
      description: {
        en: 'Mode "webhook": token of the event subscription, if events are sent here too; together with aes_key.',
        zh: 'webhook 模式下，如事件订阅也推送到此处，填写其“签名 token”，并同时填写 aes_key。',
      },
    },
    aes_key: {
      type: 'string',
      format: 'secret',
      pattern: '^[A-Za-z0-9+/]{43}$',
      description: {
        en: 'Mode "webhook": aes_key (43 characters) of the event subscription; calls are sealed with it.',
        zh: 'webhook 模式下，事件订阅的“加密 aes_key”（43 个字符），平台用它加密调用。',
      },
    },
    card_template_id: {
      type: 'string',
      description: {
        en: 'Template of an AI card, from the card platform: answers then grow while they are written. Without it they come whole.',
        zh: 'AI 卡片的模板 ID，见卡片平台：设置后回答会边写边显示；不设置则一次性发出。',
      },
      examples: ['8aebdfb9-28f4-4a98-98f5-396c3dde41a0.schema'],
    },
    card_template_key: {
      type: 'string',
      pattern: '^\\w+$',
      default: 'content',
      description: {
        en: 'Variable of that template that holds the text, streaming switched on for it.',
        zh: '该模板中承载正文的变量名，须为其开启流式组件。',
      },
    },
    base_url: {
      type: 'string',
      format: 'url',
      default: 'https://api.dingtalk.com',
      description: {
        en: 'Address of the newer interface, if it is another one: a proxy, a dedicated deployment, an emulator.',
        zh: '新版接口地址；使用代理、专属部署或模拟器时填写。',
      },
    },
    old_base_url: {
      type: 'string',
      format: 'url',
      default: 'https://oapi.dingtalk.com',
      description: {
        en: 'Address of the older interface (uploads, and the addresses to answer at), if it is another one.',
        zh: '旧版接口地址（上传文件、会话回复地址）；与默认不同时填写。',
      },
    },
    allowed_users: {
      type: 'array',
      items: { type: 'id' },
      description: {
        en: 'UserIDs (staffId) of the people who may write, of somebody outside of the organization the senderId; everybody else is told once that access is denied.',
        zh: '允许使用者的 UserID（staffId）；企业外部人员填写其 senderId。其他人会收到一次拒绝通知。',
      },
      examples: [['manager4220']],
    },
  },
  check: (given) => [
    ...NEEDED[given.mode]
      .filter((field) => given[field] === undefined || given[field] === '')
      .map((field) => ({
        field,
        problem: { en: `is required when mode is "${given.mode}"`, zh: `mode 为 "${given.mode}" 时必须填写` },
      })),
    ...(Boolean(given.token) === Boolean(given.aes_key)
      ? []
      : [
          {
            field: given.token ? ('aes_key' as const) : ('token' as const),
            problem: {
              en: 'token and aes_key are needed together: events are signed with one and sealed with the other',
              zh: 'token 与 aes_key 须同时填写：事件分别用它们签名和加密',
            },
          },
        ]),
  ],
}
