/** What is said when an error comes that nobody expected: what to do and where it was, never what people wrote. */
import { framesOf } from '../base/frames.ts'
import type { AppLogger } from '../ops/index.ts'
import { version } from '../version.ts'
import type { Language } from './language.ts'

const words = {
  en: [
    'Posthouse ended because of an error of its own. What was accepted is kept: start it again, and it goes on.',
    'If it comes back, report the lines below; they hold no message and no secret.',
  ],
  zh: ['Posthouse 因自身错误而退出。已受理的消息均已保存：重新启动即可继续。', '若再次出现，请反馈以下内容；其中不含任何消息或密钥。'],
}

/** The report: kind, code and place. Its message may quote anything, and is left out. */
export function crashReport(error: unknown, language: Language): string {
  const { name, code } = (error instanceof Error ? error : {}) as { name?: string; code?: unknown }
  const frames = framesOf(error instanceof Error ? error : new Error())
  const kind = `${/^\w{1,64}$/.test(name ?? '') ? name : 'unknown'}${/^\w{1,64}$/.test(String(code ?? '')) ? ` ${code}` : ''}`
  return [
    ...words[language],
    `  posthouse ${version}, node ${process.version}, ${process.platform} ${process.arch}`,
    `  ${kind}`,
    frames,
  ].join('\n')
}

/** Ends the process with a report instead of what the runtime would print: the message, and every field of the error. */
export function endWithReport(language: Language): void {
  // A report that an operator asks the runtime for has no variables of the environment in it, and no addresses.
  if (process.report) Object.assign(process.report, { excludeEnv: true, excludeNetwork: true })
  process.on('uncaughtException', (error) => {
    process.stderr.write(`\n${crashReport(error, language)}\n`)
    process.exit(1)
  })
}

/** The same in the log; and what is rejected and awaited by nobody, which holds nobody up. */
export function logCrashes(log: AppLogger): void {
  process.on('uncaughtExceptionMonitor', (error) =>
    log.fatal({ err: error }, 'the gateway ends because of an error of its own; start it again'),
  )
  process.on('unhandledRejection', (error) => log.error({ err: error }, 'an unhandled rejection; please report it. The gateway goes on'))
}
