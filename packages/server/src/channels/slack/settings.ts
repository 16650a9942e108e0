/** What is configured of Slack, in the words that Slack's pages use. https://docs.slack.dev/authentication/tokens */
import type { Bilingual, Schema } from '@posthouse/contract'

export interface SlackSettings {
  readonly bot_token?: string
  readonly app_token?: string
  readonly signing_secret?: string
  readonly client_id?: string
  readonly client_secret?: string
  readonly allowed_teams?: readonly string[]
  readonly mode: 'socket' | 'webhook'
  readonly base_url: string
  readonly allowed_users?: readonly string[]
}

const problem = (field: keyof SlackSettings, words: Bilingual) => ({ field, problem: words })

export const settings: Schema<SlackSettings> = {
  required: [],
  fields: {
    bot_token: {
      type: 'string',
      format: 'secret',
      pattern: '^xox[be][.-].+$',
      description: {
        en: 'The bot token (xoxb-...), from "OAuth & Permissions" of your app. For one workspace; for several give client_id and client_secret instead.',
        zh: '机器人令牌（xoxb-...），位于应用的 “OAuth & Permissions” 页。用于单个工作区；多个工作区请改填 client_id 和 client_secret。',
      },
      examples: ['$' + '{env:SLACK_BOT_TOKEN}'],
    },
    app_token: {
      type: 'string',
      format: 'secret',
      pattern: '^xapp-.+$',
      description: {
        en: 'The app-level token (xapp-...) with the scope connections:write, from "Basic Information". Required for mode "socket".',
        zh: '应用级令牌（xapp-...），须有 connections:write 权限，位于 “Basic Information” 页。socket 模式必填。',
      },
      examples: ['$' + '{env:SLACK_APP_TOKEN}'],
    },
    signing_secret: {
      type: 'string',
      format: 'secret',
      pattern: '^[A-Za-z0-9]{16,128}$',
      description: {
        en: 'The signing secret, from "Basic Information": proves that a call is Slack\'s. Required for mode "webhook".',
        zh: '签名密钥（Signing Secret），位于 “Basic Information” 页，用来证明调用来自 Slack。webhook 模式必填。',
      },
    },
    mode: {
      type: 'string',
      enum: ['socket', 'webhook'],
      default: 'socket',
      description: {
        en: 'How messages arrive: "socket" (Socket Mode) works everywhere; "webhook" (Events API) needs server.public_url and signing_secret.',
        zh: '接收方式：socket（Socket Mode）随处可用；webhook（Events API）需要 server.public_url 和 signing_secret。',
      },
    },
    client_id: {
      type: 'string',
      description: {
        en: 'Client ID, from "Basic Information": lets several workspaces install the app, at /api/webhook/ACCOUNT?install.',
        zh: 'Client ID，位于 “Basic Information” 页：多个工作区可通过 /api/webhook/账号?install 安装该应用。',
      },
    },
    client_secret: {
      type: 'string',
      format: 'secret',
      description: { en: 'Client secret, from "Basic Information".', zh: 'Client Secret，位于 “Basic Information” 页。' },
    },
    allowed_teams: {
      type: 'array',
      items: { type: 'id' },
      description: {
        en: 'Ids (T...) of the workspaces that may install the app; without it anybody who knows the address may, as far as Slack lets them.',
        zh: '允许安装该应用的工作区 ID（T...）；不填时，凡知道地址且 Slack 允许的人均可安装。',
      },
      examples: [['T0123ABCDEF']],
    },
    base_url: {
      type: 'string',
      format: 'url',
      default: 'https://slack.com/api',
      description: {
        en: 'Address of the Web API; change it for a proxy, or for GovSlack (https://slack-gov.com/api).',
        zh: 'Web API 地址；使用代理或 GovSlack（https://slack-gov.com/api）时修改。',
      },
    },
    allowed_users: {
      type: 'array',
      items: { type: 'id' },
      description: {
        en: 'Member ids (U...) of the people who may write; everybody else is told once that access is denied.',
        zh: '允许使用者的成员 ID（U...）；其他人会收到一次拒绝通知。',
      },
      examples: [['U0123ABCDEF']],
    },
  },
  check: ({ mode, app_token, signing_secret, bot_token, client_id, client_secret }) => [
    ...(bot_token || client_id
      ? []
      : [
          problem('bot_token', {
            en: 'is required, unless client_id and client_secret let several workspaces install the app',
            zh: '必填；若用 client_id 和 client_secret 供多个工作区安装，则不填',
          }),
        ]),
    ...(bot_token && client_id
      ? [
          problem('client_id', {
            en: 'does not go with bot_token: one workspace or several',
            zh: '不能与 bot_token 同时填写：单个工作区或多个工作区',
          }),
        ]
      : []),
    ...(client_id && !client_secret ? [problem('client_secret', { en: 'is required with client_id', zh: '填写 client_id 时必填' })] : []),
    ...(mode === 'socket' && !app_token
      ? [
          problem('app_token', {
            en: 'is required when mode is "socket": create one with the scope connections:write under "Basic Information"',
            zh: 'mode 为 "socket" 时必填：请在 “Basic Information” 页创建，权限为 connections:write',
          }),
        ]
      : []),
    ...(mode === 'webhook' && !signing_secret
      ? [
          problem('signing_secret', {
            en: 'is required when mode is "webhook": without it anybody could send messages in the name of Slack',
            zh: 'mode 为 "webhook" 时必填：否则任何人都可以冒充 Slack 发送消息',
          }),
        ]
      : []),
  ],
}
