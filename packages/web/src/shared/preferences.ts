/** Choices of the person at this browser. They hold no secret and stay after sign-out. */
import { useSyncExternalStore } from 'react'

export interface Preferences {
  readonly theme: 'system' | 'light' | 'dark'
  readonly language: 'en' | 'zh-CN'
  /** Which key press sends. */
  readonly send: 'enter' | 'ctrl-enter'
}

type Name = keyof Preferences

const allowed: { readonly [N in Name]: readonly Preferences[N][] } = {
  theme: ['system', 'light', 'dark'],
  language: ['en', 'zh-CN'],
  send: ['enter', 'ctrl-enter'],
}

function read<N extends Name>(name: N, fallback: Preferences[N]): Preferences[N] {
  try {
    const value = localStorage.getItem(`posthouse.${name}`)
    return allowed[name].find((one) => one === value) ?? fallback
  } catch {
    return fallback
  }
}

function readAll(): Preferences {
  const browser = /^zh/i.test(globalThis.navigator?.language ?? '') ? 'zh-CN' : 'en'
  return { theme: read('theme', 'system'), language: read('language', browser), send: read('send', 'enter') }
}

let present = readAll()
const listeners = new Set<() => void>()

function publish() {
  present = readAll()
  for (const listener of listeners) listener()
}

export const preferences = () => present

export function setPreference<N extends Name>(name: N, value: Preferences[N]): void {
  try {
    localStorage.setItem(`posthouse.${name}`, value)
    publish()
  } catch {
    // Storage is forbidden here: the choice holds for this page only.
    present = { ...present, [name]: value }
    for (const listener of listeners) listener()
  }
}

export function onPreferences(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

export const usePreferences = () => useSyncExternalStore(onPreferences, preferences)

/** Other tabs follow. */
export function followOtherTabs(): void {
  window.addEventListener('storage', (event) => {
    if (event.key?.startsWith('posthouse.')) publish()
  })
}

/** Puts theme and language on the document. */
export function applyToDocument({ theme, language }: Preferences): void {
  const page = document.documentElement
  if (theme === 'system') delete page.dataset.theme
  else page.dataset.theme = theme
  page.lang = language
}
