/** The laws of design that a machine can hold: direction of imports, homes of libraries, names of files, no cycles. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { checkArchitecture, readSources, type Violation } from './architecture.ts'
import { checkPowers, powers } from './guards.ts'

const packages = join(import.meta.dirname, '../..')
const source = join(packages, 'server/src')
const planted = join(import.meta.dirname, 'fixtures/architecture')

describe('architecture', () => {
  it('holds in the server', () => {
    const violations = checkArchitecture(source)
    assert.deepEqual(violations, [])
  })

  it('reads what it judges', () => {
    const files = readSources(source)
    assert.ok(files.length > 80, `${files.length} files`)
    assert.ok(files.filter(({ imports }) => imports.length > 0).length > 60)
  })

  it('finds every planted violation', () => {
    const found = new Set(checkArchitecture(planted).map(({ file, rule }: Violation) => `${rule}: ${file}`))
    const expected = readdirSync(planted, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
      .flatMap((entry) => {
        const path = join(entry.parentPath, entry.name)
        const rule = /^\/\/ breaks: (.+)$/m.exec(readFileSync(path, 'utf8'))?.[1]
        return rule ? [`${rule}: ${path.slice(planted.length + 1)}`] : []
      })
    assert.ok(expected.length >= 10)
    for (const violation of expected) assert.ok(found.has(violation), `not found: ${violation}`)
  })

  it('finds no misuse of a guarded power where there is none', () => {
    const found = checkArchitecture(planted).filter(({ file, rule }) => rule === 'guard' && file === 'guards/harmless.ts')
    assert.deepEqual(found, [])
  })

  it('has a planted use of every guarded power, and no home that is gone', () => {
    const told = checkArchitecture(planted).filter(({ rule }) => rule === 'guard')
    for (const { name } of powers)
      assert.ok(
        told.some(({ detail }) => detail.includes(`: ${name} live`)),
        `no example of ${name}`,
      )
    for (const home of powers.flatMap(({ homes }) => homes)) assert.ok(existsSync(join(source, home)), `${home} is gone`)
  })

  it('the contract imports nothing, and has no guarded power', () => {
    const contract = join(packages, 'contract/src')
    for (const { path, imports } of readSources(contract)) {
      assert.deepEqual(checkPowers(contract, path), [], path)
      assert.deepEqual(
        imports.filter((specifier) => !specifier.startsWith('./')),
        [],
        path,
      )
    }
  })

  it('the testkit imports the contract only', () => {
    for (const { path, imports } of readSources(join(packages, 'testkit/src'))) {
      const foreign = imports.filter((specifier) => !/^(\.|node:|@posthouse\/contract$|@grammyjs\/types$|ws$)/.test(specifier))
      assert.deepEqual(foreign, [], path)
    }
  })

  it('no file is longer than 500 lines; of the contract, what promises has at most 1,500, what writes documents 600', () => {
    const long = ['server', 'testkit', 'contract', 'web'].flatMap((name) => {
      const root = join(packages, name, 'src')
      return readdirSync(root, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && /\.tsx?$/.test(entry.name) && !/\.test\.tsx?$/.test(entry.name))
        .map((entry) => ({
          path: join(entry.parentPath, entry.name).slice(packages.length + 1),
          lines: readFileSync(join(entry.parentPath, entry.name), 'utf8').split('\n').length,
        }))
    })
    assert.deepEqual(
      long.filter(({ lines }) => lines > 500),
      [],
    )
    const writes = (path: string) => /\/(split|markup)\.ts$/.test(path)
    const linesOf = (written: boolean) =>
      long.filter(({ path }) => path.startsWith('contract') && writes(path) === written).reduce((sum, { lines }) => sum + lines, 0)
    assert.ok(linesOf(false) <= 1500, `the contract promises in ${linesOf(false)} lines`)
    assert.ok(linesOf(true) <= 600, `the contract writes documents in ${linesOf(true)} lines`)
  })
})
