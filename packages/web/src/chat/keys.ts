/** What an Enter key press means, also while an input method composes (Chinese, Japanese, Korean). */
import type { Preferences } from '../shared/preferences.ts'

export interface KeyPress {
  readonly key: string
  readonly keyCode: number
  readonly isComposing: boolean
  readonly shiftKey: boolean
  readonly ctrlKey: boolean
  readonly metaKey: boolean
  readonly altKey: boolean
  /** Milliseconds, same clock as `composedAt`. */
  readonly timeStamp: number
}

export interface KeyRules {
  readonly send: Preferences['send']
  /** No hardware keyboard to be expected: Enter is a line break, the button sends. */
  readonly touch: boolean
  /** Between `compositionstart` and `compositionend`. */
  readonly composing: boolean
  /** When the last composition ended. */
  readonly composedAt: number
}

/** The code that browsers give to keys that the input method has taken. */
const TAKEN_BY_INPUT_METHOD = 229
/** Safari ends the composition before it reports the Enter that confirmed it; nobody presses twice within this time. */
const SAME_PRESS = 40

/** `send`: the message goes. `default`: the browser does what it does (line break, confirm the composition). */
export function enterMeans(press: KeyPress, rules: KeyRules): 'send' | 'default' {
  if (press.key !== 'Enter' && press.key !== 'NumpadEnter') return 'default'
  if (press.isComposing || rules.composing || press.keyCode === TAKEN_BY_INPUT_METHOD) return 'default'
  if (press.timeStamp - rules.composedAt < SAME_PRESS) return 'default'
  if (press.ctrlKey || press.metaKey) return 'send'
  if (press.shiftKey || press.altKey || rules.touch || rules.send === 'ctrl-enter') return 'default'
  return 'send'
}
