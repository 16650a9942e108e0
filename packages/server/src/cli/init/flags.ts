/** The set-up from flags alone. */
import { readFileSync } from 'node:fs'
import { nearest } from '../../config/index.ts'
import type { Options } from '../call.ts'
import { CliError, type Terminal } from '../terminal.ts'
import { idsOf, type ModelPlan, type Plan, type TelegramPlan } from './plan.ts'
import { nameProblem, passwordProblem } from './rules.ts'

const LANGUAGES = ['en', 'zh'] as const
const APIS = ['openai', 'anthropic', 'demo']

/** What the flags decide; a key that is absent is not decided. @throws {CliError} for a flag that cannot be used. */
export function planFromFlags(options: Options, { t }: Terminal): Partial<Plan> {
  const text = (name: string) => (typeof options[name] === 'string' ? options[name].trim() : undefined)
  const refuse = (flag: string, en: string, zh: string) =>
    new CliError(t({ en: `${flag}: ${en}`, zh: `${flag}：${zh}` }), 2, 'posthouse init --help')
  const oneOf = (flag: string, value: string, known: readonly string[]) => {
    if (known.includes(value)) return
    const near = nearest(value, known)
    throw refuse(
      flag,
      `one of ${known.join(', ')} is expected.${near ? ` Did you mean "${near}"?` : ''}`,
      `应为 ${known.join('、')} 之一。${near ? `是否想写“${near}”？` : ''}`,
    )
  }
  const language = text('language')
  if (language !== undefined) oneOf('--language', language, LANGUAGES)

  const [name, file] = [text('name'), text('passwordFile')]
  const nameFault = name === undefined ? undefined : nameProblem(name)
  if (nameFault) throw refuse('--name', nameFault.en, nameFault.zh)
  if (file !== undefined && name === undefined)
    throw refuse('--name', 'missing; --password-file is for an account', '缺少此项；--password-file 需要账户名')
  let password: string | undefined
  if (file !== undefined) {
    try {
      password = readFileSync(file, 'utf8').trimEnd()
    } catch (error) {
      throw refuse('--password-file', (error as Error).message, (error as Error).message)
    }
    const fault = passwordProblem(password)
    if (fault) throw refuse('--password-file', fault.en, fault.zh)
  }

  const [api, model] = [text('modelApi'), text('model')]
  const orphan = (['baseUrl', 'apiKey', 'model'] as const).find((key) => text(key) !== undefined)
  if (api === undefined && orphan)
    throw refuse('--model-api', `missing; one of ${APIS.join(', ')} is expected`, `缺少此项；应为 ${APIS.join('、')} 之一`)
  if (api !== undefined) oneOf('--model-api', api, APIS)
  if (api !== undefined && api !== 'demo' && !model)
    throw refuse('--model', 'missing; the name of the model at the provider', '缺少此项；应为模型在提供方处的名称')
  const planned: ModelPlan | undefined =
    api === undefined || api === 'demo' || !model ? undefined : { id: 'main', api, baseUrl: text('baseUrl'), apiKey: text('apiKey'), model }

  const token = text('telegramToken')
  const allowed = text('allowedUsers')
  if (token === undefined && (allowed !== undefined || text('telegramApiRoot') !== undefined))
    throw refuse('--telegram-token', 'missing', '缺少此项')
  if (token !== undefined && allowed === undefined)
    throw refuse('--allowed-users', 'missing; ids separated by commas, or * for everybody', '缺少此项；用逗号分隔的 ID，或 * 表示所有人')
  const telegram: TelegramPlan | undefined =
    token === undefined ? undefined : { token, apiRoot: text('telegramApiRoot'), allowedUsers: idsOf(allowed ?? '') }

  return {
    ...(language === undefined ? {} : { language: language as Plan['language'] }),
    ...(name !== undefined && password !== undefined ? { account: { name, password } } : {}),
    ...(api === undefined ? {} : { model: planned }),
    ...(telegram ? { telegram } : {}),
  }
}

/** Flags without which nothing can be decided where nobody can be asked. */
export function missingFlags(given: Partial<Plan>, needsAccount: boolean): readonly string[] {
  return [
    ...('model' in given ? [] : ['--model-api (openai, anthropic, demo)']),
    ...(needsAccount && !given.account ? ['--name', '--password-file'] : []),
  ]
}
