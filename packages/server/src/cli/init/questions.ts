/** The set-up as a talk: what was given by flags is not asked again, and nothing that failed is passed over silently. */
import type { Language } from '../language.ts'
import type { Words } from '../terminal.ts'
import { type EmailPlan, idsOf, type ModelPlan, type Plan, type Preset, presets, type TelegramPlan } from './plan.ts'
import type { Prompts } from './prompts.ts'
import { nameProblem, passwordProblem, type Trial } from './rules.ts'

export interface Talk {
  readonly prompts: Prompts
  /** What flags decided. */
  readonly given: Partial<Plan>
  readonly language: Language
  readonly needsAccount: boolean
  /** Whether model and channel are asked for real. */
  readonly tests: boolean
  tryModel(plan: ModelPlan): Promise<Trial>
  tryTelegram(plan: TelegramPlan): Promise<Trial>
  tryEmail(plan: EmailPlan): Promise<Trial>
  /** The language was chosen: questions go on in it. */
  speak(language: Language): void
}

export async function askPlan(talk: Talk): Promise<Plan> {
  const { prompts, given, needsAccount } = talk
  const language =
    given.language ??
    (await prompts.select<Language>(
      'Language / 语言',
      [
        { value: 'en', label: 'English' },
        { value: 'zh', label: '中文' },
      ],
      talk.language,
    ))
  talk.speak(language)
  const t = (words: Words) => words[language]
  const account = needsAccount ? (given.account ?? (await askAccount(prompts, t))) : undefined
  const model = 'model' in given ? given.model : await askForModel(talk, t)
  if ('telegram' in given) return { language, account, model, telegram: given.telegram, email: undefined }
  return { language, account, model, ...(await askForChannel(talk, t)) }
}

type Translate = (words: Words) => string

async function askAccount(prompts: Prompts, t: Translate): Promise<NonNullable<Plan['account']>> {
  const name = await prompts.text(t({ en: 'Your name, to sign in with', zh: '你的登录名' }), {
    check: (value) => translated(nameProblem(value), t),
  })
  for (;;) {
    const password = await prompts.secret(t({ en: 'A password', zh: '密码' }), (value) => translated(passwordProblem(value), t))
    const again = await prompts.secret(t({ en: 'The same again', zh: '再次输入密码' }), () => undefined)
    if (password === again) return { name, password }
    prompts.tell(t({ en: 'The two differ. Once more, please.', zh: '两次输入不一致，请重新输入。' }))
  }
}

const translated = (words: Words | undefined, t: Translate) => words && t(words)

async function askForModel(talk: Talk, t: Translate): Promise<ModelPlan | undefined> {
  const { prompts } = talk
  for (;;) {
    const chosen = await prompts.select(
      t({ en: 'Which model shall answer?', zh: '由哪个模型回答？' }),
      [
        ...presets.map(({ id, label, baseUrl }) => ({ value: id, label: t(label), hint: baseUrl })),
        { value: 'other', label: t({ en: 'Another one with an OpenAI-compatible address', zh: '其他 OpenAI 兼容接口' }) },
        { value: 'demo', label: t({ en: 'None yet: the built-in demo', zh: '暂不配置：使用内置演示模型' }) },
      ],
      'deepseek',
    )
    if (chosen === 'demo') return undefined
    const plan = await askModelDetails(
      prompts,
      presets.find(({ id }) => id === chosen),
      t,
    )
    const outcome = await tryUntil(talk, t, t({ en: 'Asking the model', zh: '正在询问模型' }), () => talk.tryModel(plan))
    if (outcome !== 'change') return plan
  }
}

async function askModelDetails(prompts: Prompts, preset: Preset | undefined, t: Translate): Promise<ModelPlan> {
  const baseUrl =
    preset?.baseUrl ??
    (await prompts.text(t({ en: 'Address of the API, up to and with /v1', zh: 'API 地址，写到 /v1 为止' }), {
      placeholder: 'http://127.0.0.1:8000/v1',
      check: (value) => translated(urlProblem(value), t),
    }))
  if (preset?.keyPage) prompts.tell(t({ en: `A key is made at ${preset.keyPage}`, zh: `请在 ${preset.keyPage} 创建密钥` }))
  const optional = preset === undefined ? t({ en: ' (empty: none)', zh: '（留空表示无）' }) : ''
  const needsKey = preset === undefined || preset.keyPage !== undefined
  const apiKey = needsKey
    ? await prompts.secret(
        `${t({ en: 'The key, or env:NAME for a variable', zh: '密钥，或用 env:名称 引用环境变量' })}${optional}`,
        (value) => (value === '' && preset ? t({ en: 'Paste the key.', zh: '请粘贴密钥。' }) : undefined),
      )
    : ''
  const model = await prompts.text(t({ en: 'Name of the model', zh: '模型名称' }), {
    ...(preset ? { initial: preset.model } : {}),
    check: (value) => (value === '' ? t({ en: 'The provider lists the names.', zh: '请填写提供方列出的模型名称。' }) : undefined),
  })
  return { id: preset?.id ?? 'main', api: preset?.api ?? 'openai', baseUrl, apiKey: apiKey || undefined, model }
}

function urlProblem(value: string): Words | undefined {
  if (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)) return undefined
  return { en: 'It begins with http:// or https://', zh: '应以 http:// 或 https:// 开头' }
}

async function askForChannel(talk: Talk, t: Translate): Promise<Pick<Plan, 'telegram' | 'email'>> {
  const { prompts } = talk
  const chosen = await prompts.select(
    t({ en: 'A first chat tool? The web chat is there in any case.', zh: '接入第一个聊天工具？网页聊天始终可用。' }),
    [
      { value: 'telegram', label: 'Telegram' },
      { value: 'email', label: t({ en: 'E-mail', zh: '电子邮件' }) },
      { value: 'none', label: t({ en: 'Later', zh: '以后再说' }) },
    ],
    'telegram',
  )
  if (chosen === 'telegram') return { telegram: await askForTelegram(talk, t), email: undefined }
  return { telegram: undefined, email: chosen === 'email' ? await askForEmail(talk, t) : undefined }
}

async function askForEmail(talk: Talk, t: Translate): Promise<EmailPlan> {
  const { prompts } = talk
  const needed = (value: string) => (value === '' ? t({ en: 'It is needed.', zh: '必填。' }) : undefined)
  const ask = (en: string, zh: string, initial?: string) =>
    prompts.text(t({ en, zh }), { check: needed, ...(initial === undefined ? {} : { initial }) })
  for (;;) {
    const address = await prompts.text(t({ en: 'The mail address of the assistant', zh: '助手的邮箱地址' }), {
      placeholder: 'assistant@example.com',
      check: (value) =>
        /^[^\s<>@,;:"]+@[^\s<>@,;:"]+$/.test(value) ? undefined : t({ en: 'Like name@example.com', zh: '形如 name@example.com' }),
    })
    const domain = address.slice(address.indexOf('@') + 1)
    const password = await prompts.secret(
      t({ en: 'Its password (at most providers an app password), or env:NAME', zh: '密码（多数服务商为授权码），或 env:名称' }),
      needed,
    )
    const imap = await ask('IMAP server, with TLS', 'IMAP 服务器（TLS）', `imap.${domain}`)
    const smtp = await ask('SMTP server, with TLS', 'SMTP 服务器（TLS）', `smtp.${domain}`)
    prompts.tell(
      t({
        en: 'Anybody can write any sender into a mail, so only a sender that your own mail server vouches for is believed.\nOpen a mail that you received, look at its source: behind "Authentication-Results:" stands the name, like mx.google.com.\n"-" if there is none (Microsoft 365).',
        zh: '任何人都能伪造发件人，因此只相信你自己的邮件服务器验证过的发件人。\n打开一封收到的邮件，查看源代码：“Authentication-Results:” 之后即为该名称，例如 mx.google.com。\n没有名称（Microsoft 365）则填 "-"。',
      }),
    )
    const authservId = await ask('That name', '该名称')
    const plan = { address, password, imap, smtp, authservId, allowedUsers: undefined }
    const outcome = await tryUntil(talk, t, t({ en: 'Signing in at both servers', zh: '正在登录两台服务器' }), () => talk.tryEmail(plan))
    if (outcome === 'change') continue
    const allowed = await ask('Addresses that may write, separated by commas (*: everybody)', '允许来信的地址，用逗号分隔（*：所有人）')
    return { ...plan, allowedUsers: idsOf(allowed.toLowerCase()) }
  }
}

async function askForTelegram(talk: Talk, t: Translate): Promise<TelegramPlan> {
  const { prompts } = talk
  prompts.tell(
    t({
      en: 'In Telegram, open a chat with @BotFather, send /newbot and choose a name.\nIt answers with a token like 123456789:AAE...; copy all of it.',
      zh: '在 Telegram 中打开与 @BotFather 的对话，发送 /newbot 并取名。\n它会回复形如 123456789:AAE... 的令牌，请完整复制。',
    }),
  )
  for (;;) {
    const token = await prompts.secret(t({ en: 'The token, or env:NAME', zh: '令牌，或 env:名称' }), (value) =>
      /^(\d+:[\w-]+|env:\w+|file:.+)$/.test(value) ? undefined : t({ en: 'Digits, a colon, letters.', zh: '形如 数字:字母。' }),
    )
    const plan = { token, apiRoot: undefined, allowedUsers: undefined }
    const outcome = await tryUntil(talk, t, t({ en: 'Asking Telegram', zh: '正在询问 Telegram' }), () => talk.tryTelegram(plan))
    if (outcome !== 'change') return { ...plan, allowedUsers: await askAllowed(prompts, t) }
  }
}

async function askAllowed(prompts: Prompts, t: Translate): Promise<readonly string[] | undefined> {
  prompts.tell(
    t({
      en: 'Every answer costs you, so only people whom you name are answered.\nYour own id: @userinfobot tells it, and so does your bot when it refuses you.',
      zh: '每次回答都会产生费用，因此只回答你指定的人。\n查看自己的 ID：询问 @userinfobot，或在机器人拒绝你时查看其回复。',
    }),
  )
  const ids = await prompts.text(
    t({ en: 'Ids, separated by commas (empty: nobody yet; *: everybody)', zh: '用户 ID，用逗号分隔（留空：暂无人；*：所有人）' }),
    {
      placeholder: '12345678',
      check: (value) =>
        /^(\*|[\d\s,，]*)$/.test(value) ? undefined : t({ en: 'Numbers and commas, or *.', zh: '只能是数字和逗号，或 *。' }),
    },
  )
  return idsOf(ids)
}

/** Tries; after a failure the person decides. */
async function tryUntil(talk: Talk, t: Translate, title: string, attempt: () => Promise<Trial>): Promise<'passed' | 'skip' | 'change'> {
  const { prompts, tests } = talk
  if (!tests) return 'skip'
  for (;;) {
    const progress = prompts.working(title)
    const trial = await attempt()
    if (trial.passed) {
      progress.done(t(trial.words))
      return 'passed'
    }
    progress.failed(t(trial.words))
    if (trial.hint) prompts.tell(t(trial.hint))
    const next = await prompts.select<'again' | 'change' | 'skip'>(
      t({ en: 'What now?', zh: '接下来？' }),
      [
        { value: 'again', label: t({ en: 'Try again', zh: '重试' }) },
        { value: 'change', label: t({ en: 'Change what I gave', zh: '修改填写的内容' }) },
        { value: 'skip', label: t({ en: 'Keep it as it is, unproven', zh: '保持不变，跳过测试' }) },
      ],
      'change',
    )
    if (next !== 'again') return next
  }
}
