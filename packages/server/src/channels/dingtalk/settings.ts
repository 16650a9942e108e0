/** What is to be set for a DingTalk app with a robot, in the words of its developer console, as data. */
import type { Schema } from '@posthouse/contract'

export interface DingtalkSettings {
  readonly client_id: string
  readonly client_secret: string
  readonly mode: 'stream' | 'webhook'
  readonly robot_code?: string
  readonly token?: string
  readonly aes_key?: string
  readonly card_template_id?: string
  readonly card_template_key: string
  readonly base_url: string
  readonly old_base_url: string
  readonly allowed_users?: readonly string[]
}

export const robotOf = ({ robot_code, client_id }: Pick<DingtalkSettings, 'robot_code' | 'client_id'>): string => robot_code ?? client_id

export const settings: Schema<DingtalkSettings> = {
  required: ['client_id', 'client_secret'],
  fields: {
    client_id: {
      type: 'string',
      pattern: '^\\w+$',
      description: {
        en: 'Client ID (formerly AppKey), from "Credentials and Basic Information" in the developer console.',
        zh: 'Client ID（原 AppKey），见开发者后台“凭证与基础信息”。',
      },
      examples: ['dingabc1234567890xyz'],
    },
    client_secret: {
      type: 'string',
      format: 'secret',
      description: { en: 'Client Secret (formerly AppSecret), from the same page.', zh: 'Client Secret（原 AppSecret），见同一页面。' },
      examples: ['$' + '{env:DINGTALK_CLIENT_SECRET}'],
    },
    mode: {
      type: 'string',
      enum: ['stream', 'webhook'],
      default: 'stream',
      description: {
        en: 'How messages arrive: "stream" is a connection that we open, which needs no public address; "webhook" (the console calls it HTTP) needs server.public_url.',
        zh: '接收方式：stream 由网关主动建立连接，无需公网地址；webhook（后台称 HTTP 模式）需要 server.public_url。',
      },
    },
    robot_code: {
      type: 'string',
      description: {
        en: 'RobotCode, from the page of the robot; unless given, the Client ID, as it is with newer apps.',
        zh: 'RobotCode，见机器人页面；不填则与 Client ID 相同（较新的应用均如此）。',
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
  check: ({ token, aes_key }) =>
    Boolean(token) === Boolean(aes_key)
      ? []
      : [
          {
            field: token ? 'aes_key' : 'token',
            problem: {
              en: 'token and aes_key are needed together: events are signed with one and sealed with the other',
              zh: 'token 与 aes_key 须同时填写：事件分别用它们签名和加密',
            },
          },
        ],
}
