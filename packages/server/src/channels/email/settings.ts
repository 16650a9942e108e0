/** What is to be set for a mail account, as data. */
import { type Bilingual, type Field, type PriorityName, priorityNames, type Schema } from '@posthouse/contract'
import type { OAuth, Server } from './api.ts'

interface ServerSettings {
  readonly host: string
  readonly port?: number
  readonly security: Server['security']
}

export interface EmailSettings {
  readonly address: string
  readonly name?: string
  readonly user?: string
  readonly password?: string
  readonly oauth?: Partial<OAuth>
  readonly imap: ServerSettings
  readonly smtp: ServerSettings & { readonly user?: string; readonly password?: string }
  readonly tls_ca?: string
  readonly authserv_id?: string
  readonly trust_sender: boolean
  readonly allowed_users?: readonly string[]
  readonly freshness: number
  readonly priority: PriorityName
  readonly mode: 'idle' | 'polling'
  readonly poll_interval: number
  readonly mailbox: string
  readonly processed_flag: string
  readonly move_to?: string
  readonly sent_mailbox?: string
  readonly save_sent: boolean
}

const text = (en: string, zh: string, more: Partial<Field> = {}): Field => ({ type: 'string', description: { en, zh }, ...more })
const secret = (en: string, zh: string): Field => text(en, zh, { format: 'secret' })

const server = (name: string, ports: string): Record<string, Field> => ({
  host: text(`Name of the ${name} server.`, `${name} 服务器地址。`, { examples: [`${name.toLowerCase()}.example.com`] }),
  port: {
    type: 'integer',
    minimum: 1,
    maximum: 65_535,
    description: { en: `Port; without it ${ports}, by security.`, zh: `端口；不填则按 security 取 ${ports}。` },
  },
  security: text(
    '"tls" from the start, "starttls" before signing in, "none" on this machine only.',
    'tls：全程加密；starttls：登录前升级为加密；none：仅限本机。',
    { enum: ['tls', 'starttls', 'none'], default: 'tls' },
  ),
})

export const settings: Schema<EmailSettings> = {
  required: ['address', 'imap', 'smtp'],
  fields: {
    address: text('Our mail address; answers come from it.', '我方邮箱地址，回复由此发出。', {
      pattern: '^[^\\s<>@,;:"]+@[^\\s<>@,;:"]+$',
      examples: ['assistant@example.com'],
    }),
    name: text('Name beside the address.', '发件人显示名称。'),
    user: text('Name to sign in with; the address unless given.', '登录名；默认与邮箱地址相同。'),
    password: secret('Password, or the app password that your provider gives out.', '密码，或邮箱服务商提供的授权码。'),
    oauth: {
      type: 'object',
      description: { en: 'Sign in by OAuth2 (XOAUTH2) in the place of a password.', zh: '以 OAuth2（XOAUTH2）代替密码登录。' },
      fields: {
        token_url: text('Where tokens are renewed.', '刷新令牌的地址。', {
          format: 'url',
          examples: ['https://oauth2.googleapis.com/token'],
        }),
        client_id: text('Id of your application there.', '应用的客户端 ID。'),
        client_secret: secret('Its secret, if it has one.', '应用的客户端密钥（如有）。'),
        refresh_token: secret('Refresh token of the mailbox.', '邮箱的刷新令牌。'),
        scope: text('Scope to ask for, if the provider wants it.', '申请的权限范围（如服务商要求）。'),
      },
    },
    imap: {
      type: 'object',
      description: { en: 'Where mail is read.', zh: '收信服务器。' },
      fields: server('IMAP', '993 / 143'),
      required: ['host'],
    },
    smtp: {
      type: 'object',
      description: { en: 'Where answers are sent.', zh: '发信服务器。' },
      fields: {
        ...server('SMTP', '465 / 587 / 25'),
        user: text('Name to sign in with, if it is another one than for IMAP.', '登录名（与 IMAP 不同时填写）。'),
        password: secret('Password, if it is another one than for IMAP.', '密码（与 IMAP 不同时填写）。'),
      },
      required: ['host'],
    },
    tls_ca: text('Certificate (PEM) of your own authority, for servers that have theirs from it.', '自建证书颁发机构的证书（PEM）。', {
      examples: ['$' + '{file:ca.pem}'],
    }),
    authserv_id: text(
      'Name of your mail server in the Authentication-Results that it writes; only those prove a sender. "-" where it writes none (Microsoft 365).',
      '你的邮件服务器在 Authentication-Results 中的名称；仅据此认定发件人身份。未写名称的（如 Microsoft 365）填 "-"。',
      { examples: ['mx.google.com'] },
    ),
    trust_sender: {
      type: 'boolean',
      default: false,
      description: {
        en: 'Believe the From line without proof. Anybody can write any address there: only for mailboxes that the world cannot reach.',
        zh: '不经验证即相信 From 地址。任何人都能伪造该地址：仅用于外界无法投递的邮箱。',
      },
    },
    allowed_users: {
      type: 'array',
      items: { type: 'id' },
      description: { en: 'Addresses that may write, in lower case.', zh: '允许来信的地址（小写）。' },
      examples: [['ann@example.com']],
    },
    freshness: {
      type: 'string',
      format: 'duration',
      default: '24h',
      description: {
        en: 'After this time nothing is answered or sent by itself; an operator decides. Mail is slower than chat.',
        zh: '超过此时间的邮件不会自动回答或发送，由管理员决定。邮件比聊天慢，故默认较长。',
      },
    },
    priority: text(
      'As in any account; mail is seldom watched, so people who chat are answered before.',
      '含义与其他账号相同。邮件很少有人盯着等，因此聊天中的人优先得到回答。',
      { enum: priorityNames, default: 'normal' },
    ),
    mode: text('"idle": the server tells of new mail at once; "polling": it is asked.', 'idle：服务器即时通知新邮件；polling：定时查询。', {
      enum: ['idle', 'polling'],
      default: 'idle',
    }),
    poll_interval: {
      type: 'integer',
      format: 'duration',
      default: 30_000,
      minimum: 1000,
      maximum: 50_000,
      description: {
        en: 'Time between two looks, where there is no IDLE.',
        zh: '两次查询的间隔（不使用 IDLE 时）。',
      },
    },
    mailbox: text('The mailbox that is read.', '读取的邮箱文件夹。', { default: 'INBOX' }),
    processed_flag: text(
      'Flag of mails that were taken. With "$Posthouse" people may read the mailbox, too, without hiding mails from the assistant.',
      '已受理邮件的标记。设为 "$Posthouse" 时，人工阅读邮箱也不会使助手漏掉邮件。',
      { default: '\\Seen', pattern: '^(\\\\Seen|\\\\Answered|[A-Za-z0-9$_.-]{1,60})$' },
    ),
    move_to: text('Mailbox into which taken mails are moved.', '受理后邮件移入的文件夹。'),
    sent_mailbox: text(
      'Mailbox of sent mails; after a lost confirmation an answer is looked for there.',
      '已发送文件夹；发送确认丢失时在此核对。',
    ),
    save_sent: {
      type: 'boolean',
      default: false,
      description: {
        en: 'Put a copy of each answer into sent_mailbox, where the provider does not do so by itself.',
        zh: '将每封回复存入 sent_mailbox（服务商不自动保存时开启）。',
      },
    },
  },
  check: (given) => {
    const problems: { field: keyof EmailSettings & string; problem: Bilingual }[] = []
    const problem = (field: keyof EmailSettings & string, en: string, zh: string) => problems.push({ field, problem: { en, zh } })
    const oauth = Object.keys(given.oauth ?? {}).length > 0
    if (oauth && !isComplete(given.oauth)) {
      problem('oauth', 'needs token_url, client_id and refresh_token', '需要 token_url、client_id 和 refresh_token')
    } else if (oauth === (given.password !== undefined)) problem('password', 'give either password or oauth', 'password 与 oauth 须填其一')
    if (!given.trust_sender && !given.authserv_id) {
      problem(
        'authserv_id',
        'is required, since anybody can write any sender into a mail; or say trust_sender: true if the world cannot reach this mailbox',
        '必填：任何人都能伪造发件人；若外界无法投递到此邮箱，可改填 trust_sender: true',
      )
    }
    for (const which of ['imap', 'smtp'] as const) {
      if (given[which].security === 'none' && !/^(?:localhost|127\.\d+\.\d+\.\d+|::1)$/.test(given[which].host)) {
        problem(
          which,
          'security "none" would send the password in the clear: use tls or starttls',
          'security 为 none 会明文发送密码：请使用 tls 或 starttls',
        )
      }
    }
    if (given.allowed_users?.some((user) => user !== user.toLowerCase())) {
      problem('allowed_users', 'write addresses in lower case', '地址请用小写')
    }
    if (given.save_sent && !given.sent_mailbox) problem('sent_mailbox', 'is required with save_sent', '开启 save_sent 时必填')
    return problems
  },
}

/** Whether the account signs in by tokens. */
export const isComplete = (oauth: Partial<OAuth> | undefined): oauth is OAuth =>
  oauth?.token_url !== undefined && oauth.client_id !== undefined && oauth.refresh_token !== undefined
