/** What name and password must be, and what a failed trial means. */
import { passwordRule } from '../../security/index.ts'
import { type CliError, plain, type Words } from '../terminal.ts'

/** What came of asking a model or a platform. */
export interface Trial {
  readonly passed: boolean
  readonly words: Words
  readonly hint?: Words
}

export function nameProblem(name: string): Words | undefined {
  if (/^[^\p{Cc}]{1,64}$/u.test(name.trim()) && name.trim() !== '') return undefined
  return { en: 'A name has 1 to 64 characters.', zh: '名称需为 1 到 64 个字符。' }
}

export function passwordProblem(password: string): Words | undefined {
  const { least, most } = passwordRule
  if (password.length >= least && password.length <= most) return undefined
  return { en: `A password has ${least} to ${most} characters.`, zh: `密码需为 ${least} 到 ${most} 个字符。` }
}

const HINTS: Readonly<Record<string, Words>> = {
  auth: { en: 'The key or token is refused. Was all of it copied?', zh: '密钥或令牌被拒绝。是否完整复制？' },
  quota: { en: 'The account at the provider has no credit left.', zh: '提供方账户余额不足。' },
  'not-found': { en: 'The provider does not know this model or address.', zh: '提供方不认识该模型或地址。' },
  connection: {
    en: 'Nothing answers at this address. Is the server running, and does this machine reach it?',
    zh: '该地址无响应。服务是否已启动，本机能否访问？',
  },
  timeout: { en: 'No answer came in time. A local model may still be loading.', zh: '未及时响应。本地模型可能仍在加载。' },
  transient: { en: 'The platform cannot be reached from here; a proxy may be needed.', zh: '无法访问该平台，可能需要代理。' },
  'rate-limited': { en: 'Too many requests; wait a moment.', zh: '请求过于频繁，请稍候。' },
}

/** Runs a trial: the first words and the time, or the other side's words and a hint. */
export async function trial(attempt: () => Promise<Words>): Promise<Trial> {
  try {
    return { passed: true, words: await attempt() }
  } catch (error) {
    const { message, cause } = error as CliError
    const kind = (cause as { kind?: string } | undefined)?.kind
    const said = plain(message, 300)
    const hint = kind === undefined ? undefined : HINTS[kind]
    return { passed: false, words: { en: said, zh: said }, ...(hint ? { hint } : {}) }
  }
}
