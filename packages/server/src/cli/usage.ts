/** The words of the command line's own parser, in both languages. */
import type { CommanderError } from 'commander'
import type { Language } from './language.ts'
import type { Words } from './terminal.ts'

/** Headings of a help text, by their English form. */
export const titles = {
  usage: { en: 'Usage:', zh: '用法：' },
  options: { en: 'Options:', zh: '选项：' },
  arguments: { en: 'Arguments:', zh: '参数：' },
  commands: { en: 'Commands:', zh: '命令：' },
  examples: { en: 'Examples:', zh: '示例：' },
} as const satisfies Record<string, Words>

const FORMS: readonly (readonly [RegExp, (...found: string[]) => Words])[] = [
  [/^unknown command '(.*)'$/, (name) => ({ en: `There is no command "${name}".`, zh: `没有命令“${name}”。` })],
  [/^unknown option '(.*)'$/, (name) => ({ en: `There is no option ${name}.`, zh: `没有选项 ${name}。` })],
  [/^missing required argument '(.*)'$/, (name) => ({ en: `The argument <${name}> is missing.`, zh: `缺少参数 <${name}>。` })],
  [/^option '(.*)' argument missing$/, (flags) => ({ en: `The option ${flags} needs a value.`, zh: `选项 ${flags} 需要一个值。` })],
  [/^too many arguments/, () => ({ en: 'There are more arguments than the command takes.', zh: '参数过多。' })],
]

/** One line: what is wrong with the call, and what was probably meant. */
export function translateUsage({ message }: CommanderError, language: Language): string {
  const [first = '', ...more] = message.replace(/^error: /, '').split('\n')
  const meant = /^\(Did you mean (?:one of )?(.*)\?\)$/.exec(more.join(' ').trim())?.[1]
  const form = FORMS.find(([pattern]) => pattern.test(first))
  const said = form ? form[1](...(form[0].exec(first)?.slice(1) ?? []))[language] : first
  if (!meant) return said
  return language === 'zh' ? `${said}是否想用“${meant}”？` : `${said} Did you mean "${meant}"?`
}
