/** The language that a person reads: that of the configuration, else that of the terminal. */
import { closeSync, openSync, readSync } from 'node:fs'
import { resolve } from 'node:path'

export type Language = 'en' | 'zh'

const MOST_READ = 256 * 1024
const LINE = /^(?:language|[ \t]*"language")[ \t]*:[ \t]*["']?(en|zh)\b/m

/** Looks for the line itself: help must not wait for the whole check, and the words must be right for a file that is broken, too. */
export function findLanguage(config: string | undefined, env: NodeJS.ProcessEnv, folder: string): Language {
  const written = LINE.exec(readStart(resolve(folder, config ?? env.POSTHOUSE_CONFIG ?? 'posthouse.yaml')))?.[1]
  return written === 'en' || written === 'zh' ? written : localeLanguage(env)
}

/** That of the terminal. */
export function localeLanguage(env: NodeJS.ProcessEnv): Language {
  const locale = env.LC_ALL || env.LC_MESSAGES || env.LANG || ''
  return locale.toLowerCase().startsWith('zh') ? 'zh' : 'en'
}

function readStart(path: string): string {
  let file: number | undefined
  try {
    file = openSync(path, 'r')
    const buffer = Buffer.alloc(MOST_READ)
    return buffer.toString('utf8', 0, readSync(file, buffer, 0, MOST_READ, 0))
  } catch {
    return ''
  } finally {
    if (file !== undefined) closeSync(file)
  }
}
