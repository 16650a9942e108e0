/** The command line as a person meets it: help, typos, languages, exit codes, JSON. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { commandGroups, commandTable, exitCodes } from '../../src/cli/commands.ts'
import { findLanguage } from '../../src/cli/language.ts'
import { asCalled } from '../../src/cli/terminal.ts'
import { createFolder, type Ran } from './command.ts'

const folder = createFolder()
after(() => folder[Symbol.dispose]())
const zh = 'LC_ALL=zh_CN.UTF-8'

it('with a database that is a file no driver of a server is loaded', async () => {
  using place = createFolder()
  const driver = ({ loaded }: Ran) => loaded().filter((url) => /\/node_modules\/pg\//.test(url)).length
  writeFileSync(join(place.path, 'posthouse.yaml'), 'database: { url: "postgres://nobody@127.0.0.1:1/none" }\n')
  assert.ok(driver(await place.posthouse('token', 'create')) > 0, 'it would be seen')
  writeFileSync(join(place.path, 'posthouse.yaml'), '{}\n')
  const made = await place.posthouse('token', 'create')
  assert.deepEqual([made.code, driver(made)], [0, 0])
})

describe('the command line', { concurrency: 2 }, () => {
  it('answers --version and --help without loading the gateway', async () => {
    for (const flag of ['--version', '--help']) {
      const { code, ...ran } = await folder.posthouse(flag)
      assert.equal(code, 0)
      const loaded = ran.loaded()
      assert.ok(
        loaded.some((url) => url.endsWith('/cli/program.ts')),
        'the list of what was loaded is there',
      )
      const heavy = loaded.filter((url) => /\/(app|start)\.ts$|node_modules\/(fastify|kysely|undici|zod|pino)\//.test(url))
      assert.deepEqual(heavy, [], flag)
    }
  })

  it('shows help when nothing is asked', async () => {
    const { code, stdout, stderr } = await folder.posthouse()
    assert.equal(code, 0)
    assert.match(stdout, /^Usage: posthouse/)
    assert.equal(stderr, '')
    for (const { name } of commandTable) assert.match(stdout, new RegExp(`^  ${name.split(' ')[0]} `, 'm'))
    assert.ok(stdout.trimEnd().split('\n').length < 40, 'one screen')
  })

  it('shows help in Chinese', async () => {
    const { code, stdout } = await folder.posthouse(zh, 'token', 'create', '--help')
    assert.equal(code, 0)
    assert.match(stdout, /用法： posthouse token create/)
    assert.match(stdout, /为程序创建令牌/)
    assert.doesNotMatch(stdout, /Usage|Options|display help/)
  })

  it('guesses what was meant, refuses with 2, and says what to do next', async () => {
    const mistakes: [string[], RegExp][] = [
      [['doctr'], /^There is no command "doctr"\. Did you mean "doctor"\?\nNext: posthouse --help\n$/],
      [['token', 'creat'], /There is no command "creat"\. Did you mean "create"\?/],
      [['start', '--confg', 'x'], /There is no option --confg\. Did you mean "--config"\?/],
      [['send', 'a'], /The argument <room> is missing/],
      [['token', 'create', '--name'], /The option --name <name> needs a value/],
      [['status', 'x', 'y'], /more arguments/],
      [[zh, 'doctr'], /^没有命令“doctr”。是否想用“doctor”？\n接下来: posthouse --help\n$/],
      [[zh, 'send', 'a'], /缺少参数 <room>/],
    ]
    for (const [args, expected] of mistakes) {
      const { code, stderr } = await folder.posthouse(...args)
      assert.equal(code, 2, args.join(' '))
      assert.match(stderr, expected)
    }
  })

  it('answers mistakes in JSON, too', async () => {
    for (const args of [['doctr'], ['channel', 'test', 'none'], ['config', 'explain', 'sever'], ['token', 'create', '--expires', '9x']]) {
      const { code, stdout, stderr } = await folder.posthouse(...args, '--json')
      assert.equal(code, 2)
      assert.equal(stderr, '')
      const { error, next } = JSON.parse(stdout) as { error: string; next: string }
      assert.ok(error.length > 0 && next.startsWith('posthouse '), stdout)
    }
  })

  it('every command says what is next when there is no data', async () => {
    for (const args of [['status'], ['dead', 'list'], ['token', 'list'], ['user', 'password', 'a']]) {
      const { code, stderr } = await folder.posthouse(...args)
      assert.equal(code, 1, args.join(' '))
      assert.match(stderr, /There is no data yet at .*\nNext: posthouse start\n$/)
    }
    const { code, stdout } = await folder.posthouse(zh, 'model', 'list')
    assert.equal(code, 0)
    assert.match(stdout, /\* demo\s+demo\s+首选\n接下来: posthouse model test\n$/)
  })
})

describe('the words', () => {
  it('of every command, option, group and exit code are there in both languages', () => {
    const words = [
      ...commandTable.flatMap(({ description, options = [] }) => [description, ...options.map(([, text]) => text)]),
      ...Object.values(commandGroups),
      ...Object.values(exitCodes),
    ]
    for (const { en, zh: chinese } of words) {
      assert.match(en, /^[ -~]+$/)
      assert.ok(/\p{Script=Han}/u.test(chinese), chinese)
    }
    const grouped = new Set(commandTable.filter(({ name }) => name.includes(' ')).map(({ name }) => name.split(' ')[0]))
    assert.deepEqual(grouped, new Set(Object.keys(commandGroups)))
  })

  it('follow the configuration, else the terminal, also when the file is broken', () => {
    const at = (text: string, locale: string) => {
      writeFileSync(join(folder.path, 'lang.yaml'), text)
      return findLanguage('lang.yaml', { LANG: locale }, folder.path)
    }
    assert.equal(at('server: {}\n', 'zh_CN.UTF-8'), 'zh')
    assert.equal(at('server: {}\n', 'en_US.UTF-8'), 'en')
    assert.equal(at('language: zh # 中文\n', 'en_US.UTF-8'), 'zh')
    assert.equal(at('language: "en"\nbroken: [', 'zh_CN'), 'en')
    assert.equal(at('{\n "language": "zh"\n}', 'C'), 'zh')
    assert.equal(at('other:\n  language: zh\n', 'C'), 'en')
    assert.equal(findLanguage('none.yaml', { LC_ALL: 'C', LANG: 'zh_CN' }, folder.path), 'en')
    assert.equal(findLanguage(undefined, { POSTHOUSE_CONFIG: 'lang.yaml', LANG: 'zh_TW' }, folder.path), 'zh')
  })

  it('name the next command as it is called here', () => {
    assert.equal(asCalled('posthouse doctor', {}), 'posthouse doctor')
    assert.equal(asCalled('posthouse doctor', { npm_lifecycle_event: 'start' }), 'npm run posthouse -- doctor')
    assert.equal(asCalled('chmod 600 x', { npm_lifecycle_event: 'start' }), 'chmod 600 x')
  })
})
