/** `posthouse init`: from nothing to a configuration that works, at a terminal by questions, else by flags alone. */
import { existsSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { newId } from '../base/ids.ts'
import { catalog } from '../catalog.ts'
import { type Config, parseConfig } from '../config/index.ts'
import { hashPassword } from '../security/index.ts'
import { hasData } from '../storage/index.ts'
import type { Call, Options } from './call.ts'
import { probeAccount } from './channel.ts'
import { copyName, SCHEMA_FILE, writeFiles } from './init/files.ts'
import { missingFlags, planFromFlags } from './init/flags.ts'
import { type EmailPlan, type ModelPlan, type Plan, renderPlan, type TelegramPlan } from './init/plan.ts'
import { createPrompts, type Prompts } from './init/prompts.ts'
import { askPlan } from './init/questions.ts'
import { type Trial, trial } from './init/rules.ts'
import type { Language } from './language.ts'
import { addressOf, askGateway, openLocal } from './local.ts'
import { askModel } from './model.ts'
import { CliError, createTerminal, plain, type Terminal } from './terminal.ts'

/** Of a platform that cannot be asked. */
const UNKNOWN = { id: '', name: '' }

export async function init(call: Call, _args: readonly string[], options: Options): Promise<void> {
  const isTerminal = process.stdin.isTTY === true && process.stdout.isTTY === true && !call.terminal.json
  let language: Language = call.terminal.language
  const prompts = isTerminal ? createPrompts(() => language) : undefined
  await setUp(call, options, prompts, (chosen) => {
    language = chosen
  })
}

/** `prompts`: absent where nobody can be asked. */
export async function setUp(
  call: Call,
  options: Options,
  prompts: Prompts | undefined,
  speak: (language: Language) => void,
): Promise<void> {
  const { t } = call.terminal
  const path = resolve(process.cwd(), call.config ?? process.env.POSTHOUSE_CONFIG ?? 'posthouse.yaml')
  const given = planFromFlags(options, call.terminal)
  prompts?.begin(
    t({ en: 'Posthouse: set-up. Ctrl-C leaves it and changes nothing.', zh: 'Posthouse 初始设置。按 Ctrl-C 可随时退出，不作任何更改。' }),
  )
  await allowReplacing(path, options, prompts, call.terminal)
  const needsAccount = !(await hasAccount(path, call.terminal))
  if (!prompts) {
    const missing = missingFlags(given, needsAccount)
    if (missing.length > 0)
      throw new CliError(
        t({ en: `No terminal to ask at: give ${missing.join(', ')}.`, zh: `没有可交互的终端：请提供 ${missing.join('、')}。` }),
        2,
        'posthouse init --help',
      )
  }
  const attempts = attemptsAt(path)
  const tests = options.skipTests !== true
  const plan: Plan = prompts
    ? await askPlan({ prompts, given, language: call.terminal.language, needsAccount, tests, speak, ...attempts })
    : {
        language: given.language ?? call.terminal.language,
        account: needsAccount ? given.account : undefined,
        model: given.model,
        telegram: given.telegram,
        email: undefined,
      }
  const terminal = createTerminal(plan.language, call.terminal.json)
  const config = checkPlan(plan, path, terminal)
  const trials = prompts || !tests ? [] : await proveFlags(plan, attempts, terminal)
  const copy = writeFiles(path, plan)
  if (plan.account) await addAccount(config, plan.account, terminal)
  await summarize(plan, { path, copy, config, trials }, prompts, terminal)
}

async function allowReplacing(path: string, options: Options, prompts: Prompts | undefined, { t }: Terminal): Promise<void> {
  if (!existsSync(path) || options.force === true) return
  const there = { en: `${path} is there already.`, zh: `${path} 已存在。` }
  const copy = copyName(path)
  if (prompts) {
    const question = { en: `Replace all of it? The old one is kept as ${copy}`, zh: `全部替换？旧文件将保留为 ${copy}` }
    if (await prompts.confirm(`${t(there)} ${t(question)}`, false)) return
    throw new CliError(t({ en: 'Nothing was changed.', zh: '未作任何更改。' }), 1, 'posthouse config explain')
  }
  throw new CliError(
    `${t(there)} ${t({ en: `Give --force to replace it; the old one is kept as ${copy}.`, zh: `使用 --force 可替换；旧文件将保留为 ${copy}。` })}`,
    2,
    'posthouse config check',
  )
}

const parse = (plan: Plan, path: string) => parseConfig(renderPlan(plan, SCHEMA_FILE), path, catalog, process.env, dirname(path))
const EMPTY: Omit<Plan, 'language'> = { account: undefined, model: undefined, telegram: undefined, email: undefined }

/** Whether somebody can sign in already, in the data that the new file will name. */
async function hasAccount(path: string, terminal: Terminal): Promise<boolean> {
  const loaded = parse({ language: 'en', ...EMPTY }, path)
  if (!loaded.config || !(await hasData(loaded.config.database.url))) return false
  await using opened = await openLocal({ config: loaded.config, loaded, terminal })
  return (await opened.store.users.count()) > 0
}

/** The very check of the start, before anything is written. */
function checkPlan(plan: Plan, path: string, { t }: Terminal): Config {
  const { config, problems } = parse(plan, path)
  if (config && problems.length === 0) return config
  throw new CliError(problems.map(({ text }) => t(text)).join('\n'), 2, 'posthouse init --help')
}

/** Asks model and platform as they would be asked after the start. */
function attemptsAt(path: string) {
  const configOf = (plan: Partial<Plan>): Config => checkPlan({ language: 'en', ...EMPTY, ...plan }, path, createTerminal('en', false))
  return {
    tryModel: (model: ModelPlan): Promise<Trial> =>
      trial(async () => {
        const [endpoint] = configOf({ model }).models.endpoints
        if (!endpoint) throw new Error('no endpoint')
        const { text, firstToken, total } = await askModel(endpoint)
        const words = plain(text, 80)
        return {
          en: `"${words}" (first words after ${firstToken} ms, done after ${total} ms)`,
          zh: `“${words}”（首个输出 ${firstToken} ms，完成 ${total} ms）`,
        }
      }),
    tryTelegram: (telegram: TelegramPlan): Promise<Trial> =>
      trial(async () => {
        const [account] = configOf({ telegram }).accounts
        if (!account) throw new Error('no account')
        const { name, id } = (await probeAccount(account)) ?? UNKNOWN
        return { en: `Telegram knows us as ${name} (${id})`, zh: `Telegram 识别我们为 ${name}（${id}）` }
      }),
    tryEmail: (email: EmailPlan): Promise<Trial> =>
      trial(async () => {
        const [account] = configOf({ email }).accounts
        if (!account) throw new Error('no account')
        const { id } = (await probeAccount(account)) ?? UNKNOWN
        return { en: `Both servers know us as ${id}`, zh: `两台服务器均识别我们为 ${id}` }
      }),
  }
}

async function proveFlags({ model, telegram }: Plan, attempts: ReturnType<typeof attemptsAt>, { t }: Terminal): Promise<readonly string[]> {
  const trials = [model ? await attempts.tryModel(model) : undefined, telegram ? await attempts.tryTelegram(telegram) : undefined]
  const failed = trials.filter((found) => found !== undefined && !found.passed)
  if (failed.length > 0) {
    const said = failed.map((found) => [found && t(found.words), found?.hint && t(found.hint)].filter(Boolean).join('\n'))
    const skip = t({ en: 'Nothing was written. To write it unproven: --skip-tests', zh: '未写入任何文件。跳过测试直接写入：--skip-tests' })
    throw new CliError([...said, skip].join('\n'), 1, 'posthouse init --help')
  }
  return trials.flatMap((found) => (found ? [t(found.words)] : []))
}

async function addAccount(config: Config, { name, password }: NonNullable<Plan['account']>, terminal: Terminal): Promise<void> {
  const passwordHash = await hashPassword(password)
  const loaded = { path: undefined, channels: {}, config, problems: [], notices: [], files: [], secrets: [], written: () => undefined }
  await using opened = await openLocal({ config, loaded, terminal }, { create: true })
  if ((await opened.store.users.count()) > 0) return
  await opened.store.users.add({ id: newId(), name, role: 'admin', passwordHash })
}

function whoMay({ allowedUsers }: Pick<TelegramPlan, 'allowedUsers'>, t: Terminal['t']): string {
  if (allowedUsers === undefined) return t({ en: 'everybody may talk to it', zh: '所有人都可以与其对话' })
  if (allowedUsers.length > 0) return allowedUsers.join(', ')
  return t({ en: 'nobody yet: it tells everybody their id', zh: '暂无人：它会告知对方其 ID' })
}

interface Written {
  readonly path: string
  readonly copy: string | undefined
  readonly config: Config
  readonly trials: readonly string[]
}

async function summarize(
  plan: Plan,
  { path, copy, config, trials }: Written,
  prompts: Prompts | undefined,
  terminal: Terminal,
): Promise<void> {
  const { t } = terminal
  const running = (await askGateway({ config }, '/healthz')) !== undefined
  const row = (name: { en: string; zh: string }, value: string) => `${t(name)}: ${value}`
  const { account, model, telegram, email } = plan
  const lines = [
    ...trials,
    row({ en: 'Configuration', zh: '配置文件' }, path),
    ...(copy ? [row({ en: 'The old one is kept as', zh: '旧文件保留为' }, copy)] : []),
    ...(account ? [row({ en: 'Account', zh: '账户' }, account.name)] : []),
    row({ en: 'Model', zh: '模型' }, model ? `${model.id} (${model.model})` : t({ en: 'the built-in demo', zh: '内置演示模型' })),
    ...(telegram ? [row({ en: 'Channel', zh: '渠道' }, `telegram (${whoMay(telegram, t)})`)] : []),
    ...(email ? [row({ en: 'Channel', zh: '渠道' }, `email (${whoMay(email, t)})`)] : []),
    row({ en: 'Web chat', zh: '网页聊天' }, addressOf(config)),
    t({
      en: `Keep a copy of ${config.keyFile} apart from the data: without it the data cannot be read.`,
      zh: `请将 ${config.keyFile} 与数据分开备份：丢失后数据无法读取。`,
    }),
  ]
  if (running) lines.push(t({ en: 'The gateway runs and takes the change over by itself.', zh: '网关正在运行，会自动采用更改。' }))
  if (prompts) prompts.tell(lines.join('\n'))
  const data = {
    path,
    copy,
    account: account?.name,
    model: model?.id ?? 'demo',
    channels: telegram ? ['telegram'] : email ? ['email'] : [],
    running,
  }
  terminal.result(data, prompts ? t({ en: 'Done.', zh: '完成。' }) : lines.join('\n'), running ? 'posthouse doctor' : 'posthouse start')
}
