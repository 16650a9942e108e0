import { expect, it } from 'vitest'
import { enterMeans, type KeyPress, type KeyRules } from './keys.ts'

const press = (more: Partial<KeyPress> = {}): KeyPress => ({
  key: 'Enter',
  keyCode: 13,
  isComposing: false,
  shiftKey: false,
  ctrlKey: false,
  metaKey: false,
  altKey: false,
  timeStamp: 10_000,
  ...more,
})
const rules = (more: Partial<KeyRules> = {}): KeyRules => ({
  send: 'enter',
  touch: false,
  composing: false,
  composedAt: Number.NEGATIVE_INFINITY,
  ...more,
})

it('sends with Enter, and begins a line with Shift', () => {
  expect(enterMeans(press(), rules())).toBe('send')
  expect(enterMeans(press({ shiftKey: true }), rules())).toBe('default')
  expect(enterMeans(press({ altKey: true }), rules())).toBe('default')
  expect(enterMeans(press({ key: 'a' }), rules())).toBe('default')
})

it('does as the setting says', () => {
  expect(enterMeans(press(), rules({ send: 'ctrl-enter' }))).toBe('default')
  expect(enterMeans(press({ ctrlKey: true }), rules({ send: 'ctrl-enter' }))).toBe('send')
  expect(enterMeans(press({ metaKey: true }), rules({ send: 'ctrl-enter' }))).toBe('send')
})

it('begins a line on touch devices', () => {
  expect(enterMeans(press(), rules({ touch: true }))).toBe('default')
})

it('confirms a composition as Chrome and Firefox tell it: the key first, the end of the composition after', () => {
  const confirming = press({ keyCode: 229, isComposing: true })
  expect(enterMeans(confirming, rules({ composing: true }))).toBe('default')
  expect(enterMeans(press({ isComposing: true }), rules())).toBe('default')
  expect(enterMeans(press(), rules({ composing: true }))).toBe('default')
  // The next press, a moment after the composition, is meant for us.
  expect(enterMeans(press({ timeStamp: 10_120 }), rules({ composedAt: 10_000 }))).toBe('send')
})

it('confirms a composition as Safari tells it: the end first, then a key that no longer says so', () => {
  expect(enterMeans(press({ keyCode: 229 }), rules({ composedAt: 9_999 }))).toBe('default')
  expect(enterMeans(press({ keyCode: 229 }), rules())).toBe('default')
  expect(enterMeans(press({ keyCode: 13 }), rules({ composedAt: 9_998 }))).toBe('default')
})

it('never sends while composing, not even with Ctrl', () => {
  expect(enterMeans(press({ ctrlKey: true, isComposing: true }), rules())).toBe('default')
})
