/** The settings of a connector: what a platform sends and wants, as its owner writes it down. */
import type { Bilingual, DeliveryFailure, Field, Schema } from '@posthouse/contract'

/** How a call proves that it is the platform's. */
export interface Proof {
  readonly kind?: 'token' | 'hmac' | 'digest' | 'ed25519' | 'field' | 'loopback'
  readonly header?: string
  readonly query?: string
  readonly field?: string
  readonly prefix?: string
  readonly secret?: string
  readonly secret_encoding: 'utf8' | 'hex' | 'base64'
  readonly public_key?: string
  readonly algorithm: 'sha1' | 'sha256' | 'sha512'
  readonly encoding: 'hex' | 'base64'
  readonly signed?: readonly string[]
  readonly sorted: boolean
  readonly time_header?: string
  readonly time_query?: string
  readonly time_unit: 's' | 'ms'
  readonly time_window: number
}

export interface Respond {
  readonly status: number
  readonly json?: unknown
  readonly text?: string
}

export interface Receive {
  readonly proof: Proof
  readonly challenge: Respond & { readonly when?: string; readonly proven: boolean }
  readonly when?: string
  readonly messages?: string
  readonly message: Readonly<Record<MessageField, string | undefined>>
  readonly respond: Respond
}

export const messageFields = [
  'kind',
  'key',
  'id',
  'room',
  'thread',
  'room_title',
  'is_group',
  'author',
  'author_name',
  'author_is_bot',
  'text',
  'files',
  'mentions_us',
  'mentions_all',
  'addressed',
  'reply_to',
  'sent_at',
  'callback',
] as const
type MessageField = (typeof messageFields)[number]

/** A request that we make. Texts are Liquid; `json` and `form` are data with texts in them. */
export interface RequestTemplate {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly json?: unknown
  readonly form?: Readonly<Record<string, string>>
  readonly text?: string
  readonly ok?: string
  readonly id?: string
  readonly name?: string
}

export interface Failure {
  readonly when: string
  readonly kind: DeliveryFailure
  /** Seconds. */
  readonly retry_after?: string
}

export interface Send {
  readonly message: RequestTemplate
  readonly edit: RequestTemplate
  readonly typing: RequestTemplate
  readonly probe: RequestTemplate
  readonly file: RequestTemplate
  readonly headers?: Readonly<Record<string, string>>
  readonly failures?: readonly Failure[]
  readonly markup: 'plain' | 'markdown'
  readonly max_text: number
  readonly unit: 'bytes' | 'utf16' | 'code-points'
  readonly idempotent: boolean
  readonly draft_interval: number
  readonly reply_window?: number
}

export interface ConnectorSettings {
  readonly connector?: string
  readonly title: string
  readonly base_url?: string
  readonly values: Readonly<Record<string, string>>
  readonly allowed_users?: readonly string[]
  readonly receive: Receive
  readonly send: Send
  readonly events?: Readonly<Record<string, RequestTemplate>>
  readonly retry_window: number
  readonly ack_deadline: number
  readonly samples?: unknown
}

const w = (en: string, zh: string): Bilingual => ({ en, zh })
const text = (en: string, zh: string, more: Partial<Field> = {}): Field => ({ type: 'string', description: w(en, zh), ...more })
const texts = (en: string, zh: string): Field => ({ type: 'object', description: w(en, zh) })
const anything = (en: string, zh: string): Field => ({ type: 'any', description: w(en, zh) })

const respond = {
  status: { type: 'integer', default: 200, minimum: 200, maximum: 599, description: w('Status of the answer.', '响应状态码。') },
  json: anything('JSON of the answer; texts in it are Liquid.', '响应的 JSON；其中的文本为 Liquid 模板。'),
  text: text('Text of the answer, Liquid.', '响应文本，Liquid 模板。'),
} satisfies Record<string, Field>

const proof: Readonly<Record<string, Field>> = {
  kind: text('How a call proves that it is the platform’s.', '请求如何证明来自平台。', {
    enum: ['token', 'hmac', 'digest', 'ed25519', 'field', 'loopback'],
  }),
  header: text('Header with the token or signature.', '携带令牌或签名的请求头。'),
  query: text('Parameter of the address with it, instead of a header.', '携带它的查询参数（代替请求头）。'),
  field: text('For kind field: name of the string in the body.', 'kind 为 field 时：请求体中字段的名称。'),
  prefix: text('What stands before it, such as sha256=.', '其前缀，例如 sha256=。'),
  secret: text('The secret that both sides know.', '双方共有的密钥。', { format: 'secret' }),
  secret_encoding: text('How the secret is written.', '密钥的编码。', { enum: ['utf8', 'hex', 'base64'], default: 'utf8' }),
  public_key: text('For ed25519: the key, 64 hexadecimal digits.', 'ed25519 的公钥，64 位十六进制。', { pattern: '^[0-9a-fA-F]{64}$' }),
  algorithm: text('For hmac and digest.', '用于 hmac 和 digest。', { enum: ['sha1', 'sha256', 'sha512'], default: 'sha256' }),
  encoding: text('How the signature is written.', '签名的编码。', { enum: ['hex', 'base64'], default: 'hex' }),
  signed: {
    type: 'array',
    description: w(
      'What is signed, in this order: body, secret, header:NAME, query:NAME, field:NAME, text:WORDS. The body alone unless given.',
      '被签名的内容及顺序：body、secret、header:名称、query:名称、field:名称、text:文字。默认仅 body。',
    ),
    examples: [['header:X-Timestamp', 'text:.', 'body']],
  },
  sorted: { type: 'boolean', default: false, description: w('The parts are sorted before they are signed.', '签名前先将各部分排序。') },
  time_header: text('Header with the time of signing.', '携带签名时间的请求头。'),
  time_query: text('Parameter with the time of signing.', '携带签名时间的查询参数。'),
  time_unit: text('Its unit.', '时间单位。', { enum: ['s', 'ms'], default: 's' }),
  time_window: {
    type: 'integer',
    format: 'duration',
    default: 300_000,
    description: w('How far from now it may be.', '与当前时间允许的偏差。'),
  },
}

const messageWords: Readonly<Record<MessageField, Bilingual>> = {
  kind: w('message (unless given), edit, delete, callback or reaction.', 'message（默认）、edit、delete、callback 或 reaction。'),
  key: w('Unique for ever; made of kind, room and id unless given.', '永久唯一；默认由类型、房间与 ID 组成。'),
  id: w('The platform’s id of the message.', '平台的消息 ID。'),
  room: w('Id of the chat or channel.', '聊天或频道的 ID。'),
  thread: w('Id of the thread in it.', '其中话题的 ID。'),
  room_title: w('Its title.', '其名称。'),
  is_group: w('Whether several people are there.', '是否为群聊。'),
  author: w('The platform’s id of the person.', '发送者的平台 ID。'),
  author_name: w('The person’s name.', '发送者名称。'),
  author_is_bot: w('Bots are never answered.', '机器人的消息不会被回答。'),
  text: w('What was written.', '消息文本。'),
  files: w('A list of {url, name, mime, size}; addresses below base_url.', '{url, name, mime, size} 列表；地址须在 base_url 之下。'),
  mentions_us: w('Whether we are mentioned.', '是否提到我们。'),
  mentions_all: w('Whether everybody is mentioned.', '是否提到所有人。'),
  addressed: w('In a group: whether it is meant for us.', '群聊中：是否发给我们。'),
  reply_to: w('Id of the message that it answers.', '所回复消息的 ID。'),
  sent_at: w('Seconds or milliseconds since 1970, or an RFC 3339 time.', '1970 年以来的秒或毫秒，或 RFC 3339 时间。'),
  callback: w('What the pressed button carries.', '按钮携带的数据。'),
}

const receive: Readonly<Record<string, Field>> = {
  proof: { type: 'object', description: w('What proves a call.', '请求的证明方式。'), fields: proof },
  challenge: {
    type: 'object',
    description: w('The platform asks once whether this address is ours.', '平台验证地址归属的一次性请求。'),
    fields: {
      when: text('CEL: whether a call is this question.', 'CEL：该请求是否为验证请求。'),
      proven: { type: 'boolean', default: true, description: w('Whether it is signed like the others.', '是否与其他请求一样带签名。') },
      ...respond,
    },
  },
  when: text('CEL: which calls are read; others are answered and left.', 'CEL：读取哪些请求；其余仅应答。'),
  messages: text(
    'Path or CEL of the list of messages in a call; without it the body is one.',
    '一次请求中消息列表的路径或 CEL；省略时请求体即一条消息。',
  ),
  message: {
    type: 'object',
    description: w(
      'Where things stand: a path such as body.user.id, or CEL. `message` is the element of the list, or the body.',
      '各字段的位置：路径（如 body.user.id）或 CEL。message 为列表元素或请求体。',
    ),
    fields: Object.fromEntries(messageFields.map((name) => [name, { type: 'string', description: messageWords[name] } satisfies Field])),
  },
  respond: {
    type: 'object',
    description: w('What the platform is answered when all is committed.', '提交后返回给平台的响应。'),
    fields: respond,
  },
}

const headers = texts('Headers; texts are Liquid.', '请求头；文本为 Liquid 模板。')
const request = (en: string, zh: string): Field => ({
  type: 'object',
  description: w(en, zh),
  fields: {
    method: text('Method.', '方法。', { enum: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'], default: 'POST' }),
    path: text(
      'Behind base_url, Liquid; what is put in is escaped. Without it there is no such request.',
      '位于 base_url 之后，Liquid 模板，插入内容会被转义；省略则无此请求。',
    ),
    headers,
    json: anything('Body as JSON; texts in it are Liquid, behind = CEL.', 'JSON 请求体；其中文本为 Liquid，以 = 开头为 CEL。'),
    form: texts('Body as a form; texts are Liquid.', '表单请求体；文本为 Liquid。'),
    text: text('Body as plain text, Liquid.', '纯文本请求体，Liquid。'),
    ok: text(
      'CEL over status, headers and body of the answer; 2xx unless given.',
      '对响应 status、headers、body 的 CEL；默认 2xx 为成功。',
    ),
    id: text('Path or CEL of the id that the platform gave.', '平台所给 ID 的路径或 CEL。'),
    name: text('For probe: path or CEL of our name.', 'probe：我们名称的路径或 CEL。'),
  },
})

const send: Readonly<Record<string, Field>> = {
  message: request(
    'Writes a message: text, room, thread, reply_to, key, values are there.',
    '发送消息：可用 text、room、thread、reply_to、key、values。',
  ),
  edit: request('Puts text in the place of message_id; with it answers stream.', '用 text 替换 message_id 的内容；有它即可流式更新。'),
  typing: request('Shows in room that an answer is being written.', '在 room 显示正在输入。'),
  probe: request('Asks who we are.', '查询我们的身份。'),
  file: request('Fetches a file of a message: only its headers are used.', '下载消息中的文件：仅使用其请求头。'),
  headers,
  failures: anything(
    'List of {when, kind, retry_after}: what refusals mean, CEL over status, headers and body.',
    '{when, kind, retry_after} 列表：以 CEL 判断 status、headers、body，说明失败含义。',
  ),
  markup: text('How texts are written.', '文本格式。', { enum: ['plain', 'markdown'], default: 'markdown' }),
  max_text: {
    type: 'integer',
    default: 4000,
    minimum: 20,
    maximum: 1_000_000,
    description: w('Longest text of a message; longer ones are split.', '单条消息的最大长度；超出则拆分。'),
  },
  unit: text('Unit of max_text.', 'max_text 的单位。', { enum: ['bytes', 'utf16', 'code-points'], default: 'code-points' }),
  idempotent: {
    type: 'boolean',
    default: false,
    description: w('The platform refuses a second message with the same key.', '平台会拒绝相同 key 的重复消息。'),
  },
  draft_interval: {
    type: 'integer',
    format: 'duration',
    default: 1500,
    minimum: 100,
    description: w('The least time between two edits.', '两次编辑的最小间隔。'),
  },
  reply_window: {
    type: 'integer',
    format: 'duration',
    description: w('How long after a message an answer is allowed.', '消息之后多久内允许回复。'),
  },
}

export const settings: Schema<ConnectorSettings> = {
  required: [],
  fields: {
    connector: text(
      'A file with the settings of a connector; what stands here goes before what stands there.',
      '存有连接器设置的文件；此处的键优先于文件中的键。',
      { examples: ['./connectors/zulip.yaml'] },
    ),
    title: text('Name of the platform.', '平台名称。', { default: 'webhook' }),
    base_url: text('Address of the platform’s API.', '平台 API 的地址。', { format: 'url' }),
    values: texts('Names and texts for the templates, such as tokens.', '供模板使用的名称与文本，例如令牌。'),
    allowed_users: {
      type: 'array',
      items: { type: 'id' },
      description: w(
        'Ids of the people who may write; everybody else is told once that access is denied.',
        '允许使用者的 ID；其他人会收到一次拒绝通知。',
      ),
    },
    receive: { type: 'object', description: w('What the platform sends us.', '平台发来的内容。'), fields: receive },
    send: { type: 'object', description: w('What we send to the platform.', '我们发给平台的内容。'), fields: send },
    events: anything(
      'Requests by event_type for events such as task_update; content is what belongs to one.',
      '按 event_type 定义的事件请求（如 task_update）；content 为其内容。',
    ),
    retry_window: {
      type: 'integer',
      format: 'duration',
      default: 86_400_000,
      description: w('How long the platform repeats a call that was not acknowledged.', '平台对未确认请求的重试时长。'),
    },
    ack_deadline: {
      type: 'integer',
      format: 'duration',
      default: 10_000,
      description: w('How long the platform waits for an answer.', '平台等待响应的时长。'),
    },
    samples: anything('Examples that `posthouse channel test` plays.', '`posthouse channel test` 执行的样例。'),
  },
  check: ({ receive: { proof: given }, send: sent, base_url }) => {
    const problems: { field: 'receive' | 'base_url'; problem: Bilingual }[] = []
    const needs = (name: keyof Proof, en: string, zh: string) => {
      if (!given[name]) problems.push({ field: 'receive', problem: w(`proof.${name}: ${en}`, `proof.${name}：${zh}`) })
    }
    if (given.kind === 'ed25519') needs('public_key', 'is needed for ed25519', 'ed25519 必填')
    else if (given.kind && given.kind !== 'loopback')
      needs('secret', 'is needed: without it anybody could speak in the name of the platform', '必填：否则任何人都能冒充平台')
    if (given.kind === 'field') needs('field', 'is needed', '必填')
    else if (given.kind && given.kind !== 'loopback' && !given.query) needs('header', 'or query is needed', '与 query 至少填一项')
    if (sent.message.path !== undefined && !base_url)
      problems.push({ field: 'base_url', problem: w('is needed to send', '发送消息时必填') })
    return problems
  },
}
