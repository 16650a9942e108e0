import { expect, it } from 'vitest'
import { typeset } from './typeset-formula.tsx'

it('sets formulas, Chinese words in them too', () => {
  expect(typeset('\\frac{a}{b}', true)).toContain('katex')
  expect(typeset('速度 = \\frac{路程}{时间}', true)).toContain('katex')
})

it.each([
  '\\frac{a',
  '\\unknowncommand',
  '\\href{javascript:alert(1)}{x}',
  '\\includegraphics{https://example.org/x.png}',
  '\\htmlClass{x}{y}',
])('gives back nothing for what is wrong or reaches outside: %s', (source) => {
  expect(typeset(source, false) ?? '').not.toMatch(/href=|<img|class="x"/)
})

it('refuses formulas that grow without end', () => {
  expect(typeset('\\def\\a{\\a\\a}\\a', false)).toBeUndefined()
})
