// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are the configuration's own placeholders
/** What the set-up decided, and the file that says so. */
import type { Language } from '../language.ts'
import type { Words } from '../terminal.ts'

export interface ModelPlan {
  readonly id: string
  readonly api: string
  readonly baseUrl: string | undefined
  readonly apiKey: string | undefined
  readonly model: string
}

export interface TelegramPlan {
  readonly token: string
  readonly apiRoot: string | undefined
  /** Undefined: everybody. */
  readonly allowedUsers: readonly string[] | undefined
}

export interface EmailPlan {
  readonly address: string
  readonly password: string
  readonly imap: string
  readonly smtp: string
  /** The mail server whose word on a sender is believed. */
  readonly authservId: string
  /** Undefined: everybody. */
  readonly allowedUsers: readonly string[] | undefined
}

export interface Plan {
  readonly language: Language
  /** Undefined: there is one already. */
  readonly account: { readonly name: string; readonly password: string } | undefined
  /** Undefined: the built-in demo. */
  readonly model: ModelPlan | undefined
  readonly telegram: TelegramPlan | undefined
  readonly email: EmailPlan | undefined
}

export interface Preset {
  readonly id: string
  readonly label: Words
  readonly api: string
  readonly baseUrl: string
  /** What most people take; the person may write another one. */
  readonly model: string
  /** Where the key is made; undefined: none is needed. */
  readonly keyPage: string | undefined
}

const w = (en: string, zh: string): Words => ({ en, zh })

export const presets: readonly Preset[] = [
  {
    id: 'deepseek',
    label: w('DeepSeek', 'DeepSeek（深度求索）'),
    api: 'openai',
    baseUrl: 'https://api.deepseek.com/v1',
    model: 'deepseek-chat',
    keyPage: 'https://platform.deepseek.com/api_keys',
  },
  {
    id: 'qwen',
    label: w('Qwen (Alibaba Cloud, DashScope)', '通义千问（阿里云百炼 DashScope）'),
    api: 'openai',
    baseUrl: 'https://dashscope.aliyuncs.com/compatible-mode/v1',
    model: 'qwen-plus',
    keyPage: 'https://bailian.console.aliyun.com/?tab=model#/api-key',
  },
  {
    id: 'openai',
    label: w('OpenAI', 'OpenAI'),
    api: 'openai',
    baseUrl: 'https://api.openai.com/v1',
    model: 'gpt-4.1-mini',
    keyPage: 'https://platform.openai.com/api-keys',
  },
  {
    id: 'anthropic',
    label: w('Anthropic (Claude)', 'Anthropic（Claude）'),
    api: 'anthropic',
    baseUrl: 'https://api.anthropic.com',
    model: 'claude-sonnet-4-5',
    keyPage: 'https://platform.claude.com/settings/keys',
  },
  {
    id: 'ollama',
    label: w('Ollama on this machine (no key)', '本机的 Ollama（无需密钥）'),
    api: 'openai',
    baseUrl: 'http://127.0.0.1:11434/v1',
    model: 'qwen3',
    keyPage: undefined,
  },
]

/** `env:NAME` and `file:path` become references; anything else is the secret itself. */
export function secretValue(given: string): string {
  const [, kind, name] = /^(env|file):(.+)$/.exec(given) ?? []
  return kind ? `\${${kind}:${name}}` : given
}

/** `12, 34`; `*` stands for everybody (undefined). */
export function idsOf(text: string): readonly string[] | undefined {
  return text.trim() === '*' ? undefined : text.split(/[\s,，]+/).filter(Boolean)
}

/** Whether the file will hold a secret in plain. */
export function holdsSecret({ model, telegram, email }: Plan): boolean {
  return [model?.apiKey, telegram?.token, email?.password].some((secret) => secret !== undefined && secretValue(secret) === secret)
}

const quoted = (text: string): string => JSON.stringify(text)

/** `posthouse.yaml` with comments in the person's language. */
export function renderPlan(plan: Plan, schemaFile: string): string {
  const t = (words: Words) => words[plan.language]
  const lines = [
    `# yaml-language-server: $schema=./${schemaFile}`,
    `# ${t(w('What a key means: posthouse config explain. Whether all is well: posthouse config check, posthouse doctor.', '查看各键含义：posthouse config explain。检查是否正常：posthouse config check、posthouse doctor。'))}`,
    `# ${t(w('Changes are taken over while the gateway runs; those of server: need a restart.', '修改会在运行中生效；server: 部分需要重启。'))}`,
    '',
    `language: ${plan.language}`,
    '',
    'server:',
    `  # ${t(w('127.0.0.1: only this machine. 0.0.0.0: everybody who can reach it; put a proxy with HTTPS in front.', '127.0.0.1：仅本机可访问。0.0.0.0：所有能访问到的人；请在前面放置 HTTPS 代理。'))}`,
    '  host: 127.0.0.1',
    '  port: 8080',
    `  # ${t(w('The address under which the world reaches it; needed for webhooks only.', '外部访问本网关的地址；仅 webhook 需要。'))}`,
    '  # public_url: https://assistant.example.com',
    '',
    ...modelLines(plan, t),
    '',
    ...channelLines(plan, t),
  ]
  return `${lines.join('\n')}\n`
}

function modelLines({ model }: Plan, t: (words: Words) => string): string[] {
  if (!model)
    return [
      `# ${t(w('The built-in demo model answers until an endpoint is written here (or: posthouse init).', '在此填写端点之前，由内置演示模型回答（也可运行 posthouse init）。'))}`,
      '# models:',
      '#   endpoints:',
      '#     deepseek: { api: openai, base_url: https://api.deepseek.com/v1, api_key: "${env:DEEPSEEK_API_KEY}", model: deepseek-chat }',
    ]
  return [
    'models:',
    `  # ${t(w('The endpoint that answers; more of them can take over: fallback: [name].', '首选端点；可用 fallback: [名称] 指定接替的端点。'))}`,
    `  primary: ${quoted(model.id)}`,
    '  endpoints:',
    `    ${quoted(model.id)}:`,
    `      # ${t(w('Wire format: openai (also DeepSeek, Qwen, Ollama, vLLM) or anthropic.', '接口格式：openai（DeepSeek、通义千问、Ollama、vLLM 亦用）或 anthropic。'))}`,
    `      api: ${quoted(model.api)}`,
    ...(model.baseUrl === undefined ? [] : [`      base_url: ${quoted(model.baseUrl)}`]),
    ...(model.apiKey === undefined
      ? []
      : [
          `      # ${t(w('A secret can stay outside of this file: "${env:NAME}" or "${file:path}".', '密钥可不写在本文件中："${env:名称}" 或 "${file:路径}"。'))}`,
          `      api_key: ${quoted(secretValue(model.apiKey))}`,
        ]),
    `      model: ${quoted(model.model)}`,
  ]
}

function channelLines({ telegram, email }: Plan, t: (words: Words) => string): string[] {
  if (email) return ['channels:', ...emailLines(email, t)]
  if (!telegram)
    return [
      `# ${t(w('Chat tools, by account name. The web chat is always there.', '聊天工具，以账号名为键。网页聊天始终可用。'))}`,
      '# channels:',
      '#   telegram: { token: "${env:TELEGRAM_TOKEN}", allowed_users: [12345678] }',
    ]
  return [
    'channels:',
    '  telegram:',
    `    token: ${quoted(secretValue(telegram.token))}`,
    ...(telegram.apiRoot === undefined ? [] : [`    api_root: ${quoted(telegram.apiRoot)}`]),
    `    # ${t(w('Ids of the people who may talk to it. Without this key: everybody, at your cost.', '允许与其对话的用户 ID。不写此键：所有人都可以，费用由你承担。'))}`,
    telegram.allowedUsers === undefined
      ? '    # allowed_users: [12345678]'
      : `    allowed_users: [${telegram.allowedUsers.map((id) => (/^\d{1,15}$/.test(id) ? id : quoted(id))).join(', ')}]`,
  ]
}

function emailLines({ address, password, imap, smtp, authservId, allowedUsers }: EmailPlan, t: (words: Words) => string): string[] {
  return [
    '  email:',
    `    address: ${quoted(address)}`,
    `    password: ${quoted(secretValue(password))}`,
    `    imap: { host: ${quoted(imap)} }`,
    `    smtp: { host: ${quoted(smtp)} }`,
    `    # ${t(w('Your mail server as it signs Authentication-Results; only its word proves a sender.', '邮件服务器在 Authentication-Results 中的名称；仅据此认定发件人身份。'))}`,
    `    authserv_id: ${quoted(authservId)}`,
    `    # ${t(w('Addresses that may write. Without this key: everybody, at your cost.', '允许来信的地址。不写此键：所有人都可以，费用由你承担。'))}`,
    allowedUsers === undefined ? '    # allowed_users: [ann@example.com]' : `    allowed_users: [${allowedUsers.map(quoted).join(', ')}]`,
  ]
}
