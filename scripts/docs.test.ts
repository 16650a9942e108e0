/** What the docs point at exists, what they tell to write is right, and both languages say the same. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'
import { catalog } from '../packages/server/src/catalog.ts'
import { parseConfig } from '../packages/server/src/config/index.ts'

const root = join(import.meta.dirname, '..')

interface Page {
  readonly path: string
  readonly text: string
  /** Without the blocks of code. */
  readonly prose: string
  readonly blocks: readonly { readonly language: string; readonly code: string }[]
}

const readPage = (path: string): Page => {
  const text = readFileSync(join(root, path), 'utf8')
  const blocks = [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map(([, language = '', code = '']) => ({ language, code }))
  return { path, text, prose: text.replace(/^```\w*\n[\s\S]*?^```$/gm, ''), blocks }
}

const pages = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).flatMap((name) =>
    name.endsWith('.md') ? [join('docs', name)] : [],
  ),
].map(readPage)

/** The anchor that a heading gets on the usual hosts. */
const anchorOf = (heading: string) =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replaceAll(' ', '-')
const anchorsOf = ({ prose }: Page) => [...prose.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => anchorOf(heading))

/** Relative links and pictures of a page that lead nowhere. */
function brokenLinks(page: Page): string[] {
  const targets = [...page.prose.matchAll(/\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"/g)].map(
    ([, link, attribute]) => link ?? attribute ?? '',
  )
  return targets.filter((target) => {
    if (/^[a-z]+:/.test(target)) return false
    const [file = '', anchor] = target.split('#')
    const path = file === '' ? page.path : relative(root, join(root, dirname(page.path), decodeURIComponent(file)))
    if (file !== '' && !existsSync(join(root, path))) return true
    return (
      anchor !== undefined && path.endsWith('.md') && !anchorsOf(file === '' ? page : readPage(path)).includes(decodeURIComponent(anchor))
    )
  })
}

/** Every file of ours, as `/packages/...`. */
const files = ['packages', 'scripts', 'bench', 'docs'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => !/(^|\/)(node_modules|dist)\//.test(name))
    .map((name) => `/${folder}/${name}`),
)

/** Paths in backticks that name nothing: whole ones from the root, short ones as the end of a file's path. */
function brokenPaths(page: Page): string[] {
  const named = [...page.prose.matchAll(/`([\w.@/-]+)`/g)].map(([, path = '']) => path)
  return named.filter((path) => {
    if (/^(?:packages|docs|scripts|bench|\.ci)\/./.test(path)) return !existsSync(join(root, path))
    return /\w\.(?:tsx?|mjs|js)$/.test(path) && !files.some((file) => file.endsWith(`/${path}`))
  })
}

for (const page of pages) {
  test(`${page.path} points at what is there`, () => {
    assert.deepEqual(brokenLinks(page), [])
    assert.deepEqual(brokenPaths(page), [])
  })
}

test('finds what is broken', () => {
  const text =
    '[a](nowhere.md) [b](README.md#no-such-heading) `packages/server/src/nothing.ts` `queue/nothing.ts` `queue/lanes.ts` ![c](no.png)\n# Here\n[d](#here)'
  const page: Page = { path: 'broken.md', text, prose: text, blocks: [] }
  assert.deepEqual(brokenLinks(page), ['nowhere.md', 'README.md#no-such-heading', 'no.png'])
  assert.deepEqual(brokenPaths(page), ['packages/server/src/nothing.ts', 'queue/nothing.ts'])
})

test('every configuration that the guides show is right', () => {
  const shown = pages
    .filter(({ path }) => path.startsWith('README'))
    .flatMap(({ path, blocks }) => blocks.map((block) => ({ path, ...block })))
  const configurations = shown.filter(({ language }) => language === 'yaml')
  assert.ok(configurations.length >= 4)
  const env = {
    DEEPSEEK_API_KEY: 'sk-1',
    ANTHROPIC_API_KEY: 'sk-2',
    TELEGRAM_TOKEN: '123456:ABC',
    MAIL_PASSWORD: 'horse',
    RABBITMQ_PASSWORD: 'horse',
  }
  for (const { path, code } of configurations) {
    const { problems, config } = parseConfig(code, undefined, catalog, env, root)
    assert.deepEqual([problems, config !== undefined], [[], true], `${path}:\n${code}`)
  }
})

test('the READMEs tell of every channel that is built in', () => {
  for (const name of ['README.md', 'README.zh-CN.md']) {
    const rows =
      readPage(name)
        .prose.match(/^\| `([a-z]+)`/gm)
        ?.map((row) => row.slice(3, -1)) ?? []
    assert.deepEqual(rows.toSorted(), Object.keys(catalog.channels).toSorted(), name)
  }
})

test('both READMEs have the same parts, commands and examples', () => {
  const [english, chinese] = ['README.md', 'README.zh-CN.md'].map(readPage) as [Page, Page]
  const shape = ({ prose }: Page) => [...prose.matchAll(/^(#+|-|\d\.|\|) ?/gm)].map(([, mark]) => mark)
  const examples = ({ blocks }: Page) => blocks.map(({ language, code }) => [language, code.replace(/ *# .*$/gm, '')])
  const links = ({ text }: Page) => [...text.matchAll(/\]\(((?!README)[^)]+)\)/g)].map(([, target = '']) => target.replace('.zh.md', '.md'))
  assert.deepEqual(shape(chinese), shape(english))
  assert.deepEqual(examples(chinese), examples(english))
  assert.deepEqual(links(chinese), links(english))
})
