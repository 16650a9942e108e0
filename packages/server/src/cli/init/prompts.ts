/** Questions at a terminal, as the set-up asks them; a person who leaves ends all of it. */
import type { Readable, Writable } from 'node:stream'
import * as clack from '@clack/prompts'
import type { Language } from '../language.ts'
import { CliError } from '../terminal.ts'

export interface Choice<V> {
  readonly value: V
  readonly label: string
  readonly hint?: string
}

/** Every question rejects with {@link CliError} when the person cancels. */
export interface Prompts {
  begin(title: string): void
  tell(text: string, title?: string): void
  end(text: string): void
  select<V extends string>(message: string, choices: readonly Choice<V>[], initial: V): Promise<V>
  text(message: string, options: { initial?: string; placeholder?: string; check?: (value: string) => string | undefined }): Promise<string>
  secret(message: string, check: (value: string) => string | undefined): Promise<string>
  confirm(message: string, initial: boolean): Promise<boolean>
  /** Shows that something takes time; its end is told with the outcome. */
  working(message: string): { done(text: string): void; failed(text: string): void }
}

export function cancelled(language: Language): CliError {
  return new CliError(language === 'zh' ? '已取消，未作任何更改。' : 'Cancelled; nothing was changed.', 1, 'posthouse init')
}

/** Streams are the process's own unless others are given. */
export function createPrompts(language: () => Language, streams: { readonly input?: Readable; readonly output?: Writable } = {}): Prompts {
  const answered = <V>(value: V | typeof clack.CANCEL_SYMBOL): V => {
    if (clack.isCancel(value)) throw cancelled(language())
    return value
  }
  const zh = () => language() === 'zh'
  return {
    begin: (title) => clack.intro(title, streams),
    tell: (text, title) => clack.note(text, title, streams),
    end: (text) => clack.outro(text, streams),
    async select<V extends string>(message: string, choices: readonly Choice<V>[], initial: V): Promise<V> {
      const options = choices.map(({ value, label, hint }) => ({ value: value as string, label, ...(hint ? { hint } : {}) }))
      return answered(await clack.select({ message, options, initialValue: initial, showInstructions: !zh(), ...streams })) as V
    },
    async text(message, { initial, placeholder, check }) {
      return answered(
        await clack.text({
          message,
          validate: (value) => check?.((value ?? '').trim()),
          ...(initial === undefined ? {} : { initialValue: initial }),
          ...(placeholder === undefined ? {} : { placeholder }),
          ...streams,
        }),
      ).trim()
    },
    async secret(message, check) {
      return answered(await clack.password({ message, validate: (value) => check((value ?? '').trim()), ...streams })).trim()
    },
    async confirm(message, initial) {
      const labels = zh() ? { active: '是', inactive: '否' } : {}
      return answered(await clack.confirm({ message, initialValue: initial, ...labels, ...streams }))
    },
    working(message) {
      const spinner = clack.spinner({ ...streams })
      spinner.start(message)
      return { done: (text) => spinner.stop(text), failed: (text) => spinner.error(text) }
    },
  }
}
