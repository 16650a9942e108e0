/** The reference pages tell what the program has: nothing is missing, nothing is there that is gone, in both languages. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { deliveryFailureActions, deliverySteps, errorTable } from '@posthouse/contract'
import { fill, pageNames, pagePath, referenceFolder, schemaFile, schemaText, slotsOf, tables } from '../../../../scripts/reference.ts'
import { actionWords, metricWords, stateWords } from '../../../../scripts/reference-words.ts'
import { commandTable, exitCodes } from '../../src/cli/commands.ts'
import { allKeys } from '../../src/cli/config.ts'
import { metricTable } from '../../src/ops/index.ts'
import { inboxSteps, toolCallSteps } from '../../src/ports/store.ts'

const UPDATE = 'the page is not up to date: node scripts/run.mjs scripts/reference.ts'
const names = (page: string, pattern: RegExp) => [...page.matchAll(pattern)].map((match) => match[1] ?? '')
const rows = /^\| `?([^|`]+?)`? \|/gm
const cells = (page: string) => names(page, rows).filter((name) => !/^(-+|[A-Z]|\p{Script=Han})/u.test(name))

/** What a page must name, and nothing else, without looking at how its tables are made. */
const subjects: Readonly<
  Record<(typeof pageNames)[number], { readonly found: (page: string) => string[]; readonly known: readonly string[] }>
> = {
  commands: { found: (page) => names(page, /^### `posthouse ([a-z ]+?)(?: [<[].*)?`$/gm), known: commandTable.map(({ name }) => name) },
  configuration: {
    found: cells,
    known: allKeys()
      .filter(({ name }) => name !== 'channels' && name !== 'mcp')
      .map(({ name }) => name),
  },
  errors: { found: cells, known: Object.keys(errorTable) },
  metrics: { found: cells, known: metricTable.map(([name]) => name) },
  states: {
    found: cells,
    known: [inboxSteps, toolCallSteps, deliverySteps, deliveryFailureActions].flatMap((machine) => Object.keys(machine)),
  },
}

describe('the reference', () => {
  for (const page of pageNames) {
    for (const language of ['en', 'zh'] as const) {
      it(`${page} (${language})`, () => {
        const text = readFileSync(pagePath(page, language), 'utf8')
        assert.deepEqual(subjects[page].found(text).sort(), [...subjects[page].known].sort(), UPDATE)
        assert.ok(text === fill(text, language), UPDATE)
      })
    }
  }

  it('shows every table, in both languages alike, on pages that all belong to it', () => {
    const shown = (language: 'en' | 'zh') => pageNames.flatMap((page) => slotsOf(readFileSync(pagePath(page, language), 'utf8')))
    assert.deepEqual(shown('en').sort(), Object.keys(tables('en')).sort())
    assert.deepEqual(shown('zh').sort(), shown('en').sort())
    assert.deepEqual(
      readdirSync(referenceFolder).sort(),
      ['posthouse.schema.json', ...pageNames.flatMap((page) => [`${page}.md`, `${page}.zh.md`])].sort(),
    )
  })

  it('has the schema as the program prints it', () => {
    assert.deepEqual(JSON.parse(readFileSync(schemaFile, 'utf8')), JSON.parse(schemaText()), UPDATE)
  })

  it('has the exit codes and every option of every command', () => {
    const page = readFileSync(pagePath('commands', 'en'), 'utf8')
    for (const code of Object.keys(exitCodes)) assert.match(page, new RegExp(`^\\| ${code} \\|`, 'm'))
    for (const { options = [] } of commandTable) for (const [flags] of options) assert.ok(page.includes(`\`${flags}\``), flags)
  })

  it('has words of its own for all that has none, and none left over', () => {
    assert.deepEqual(
      Object.keys(metricWords),
      metricTable.map(([name]) => name),
    )
    assert.deepEqual(Object.keys(stateWords.inbox), Object.keys(inboxSteps))
    assert.deepEqual(Object.keys(stateWords['tool-call']), Object.keys(toolCallSteps))
    assert.deepEqual(Object.keys(stateWords.delivery), Object.keys(deliverySteps))
    assert.deepEqual(new Set(Object.keys(actionWords)), new Set(Object.values(deliveryFailureActions)))
  })
})
