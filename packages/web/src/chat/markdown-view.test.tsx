import { cleanup, render, screen, waitFor } from '@testing-library/react'
import { Tooltip } from 'radix-ui'
import { afterEach, beforeAll, expect, it } from 'vitest'
import { startLanguages } from '../shared/i18n.ts'
import { MarkdownView } from './markdown-view.tsx'

beforeAll(startLanguages)
afterEach(cleanup)

function show(text: string, streaming = false) {
  const page = (words: string, more: boolean) => (
    <Tooltip.Provider>
      <MarkdownView text={words} streaming={more} />
    </Tooltip.Provider>
  )
  const view = render(page(text, streaming))
  return { box: view.container, show: (words: string, more: boolean) => view.rerender(page(words, more)) }
}

it('shows HTML as text', () => {
  const { box } = show('<img src=x onerror=alert(1)> <b>bold</b>')
  expect(box.querySelector('img, b')).toBeNull()
  expect(box.textContent).toContain('<b>bold</b>')
})

it('opens links apart, tells nothing to the other side, shows where they lead', () => {
  show('[the docs](https://example.org/a) and https://example.com/b')
  const docs = screen.getByRole('link', { name: 'the docs (example.org)' })
  expect(docs.getAttribute('rel')).toContain('noreferrer')
  expect(docs.getAttribute('target')).toBe('_blank')
  expect(screen.getByRole('link', { name: 'https://example.com/b' })).toBeTruthy()
})

it.each(['[x](javascript:alert(1))', '[x](data:text/html,hi)', '[x](vbscript:x)', '[x](/relative)', '[x](file:///etc/passwd)'])(
  'makes no link of %s',
  (text) => {
    expect(show(text).box.querySelector('a')).toBeNull()
  },
)

it('fetches no picture by itself', () => {
  const { box } = show('![a map](https://example.org/map.png)')
  expect(box.querySelector('img')).toBeNull()
  expect(screen.getByRole('link', { name: 'a map (example.org)' }).getAttribute('href')).toBe('https://example.org/map.png')
})

it('shows tasks as boxes', () => {
  show('- [x] done\n- [ ] open\n- [y] no task')
  expect(screen.getAllByRole('checkbox').map((box) => (box as HTMLInputElement).checked)).toEqual([true, false])
})

it('folds code over forty lines, not while it is being written', () => {
  const code = (lines: number) => `\`\`\`js\n${'x\n'.repeat(lines)}`
  const view = show(code(41), true)
  expect(screen.queryByRole('button', { expanded: false })).toBeNull()
  view.show(`${code(41)}\`\`\``, false)
  expect(screen.getByRole('button', { name: 'Show all 41 lines', expanded: false })).toBeTruthy()
  view.show(`${code(40)}\`\`\``, false)
  expect(screen.queryByRole('button', { expanded: false })).toBeNull()
})

it('colours code when its block is closed', async () => {
  const view = show('```js\nconst a = 1\n', true)
  expect(view.box.querySelector('[class^=hljs]')).toBeNull()
  view.show('```js\nconst a = 1\n```', true)
  await waitFor(() => expect(view.box.querySelector('.hljs-keyword')?.textContent).toBe('const'), { timeout: 5000 })
  expect(view.box.querySelector('code')?.textContent).toBe('const a = 1\n')
})

it('keeps what is drawn when the draft becomes the answer', () => {
  const text = '# Title\n\nOne paragraph.\n\n- a\n- b\n'
  const view = show(text, true)
  const title = view.box.querySelector('h1')
  view.show(`${text}\nThe end.`, true)
  view.show(`${text}\nThe end.`, false)
  expect(view.box.querySelector('h1')).toBe(title)
  expect(view.box.textContent).toContain('The end.')
})
