/** `posthouse plugin`: make one of one's own from the template, and see which are used. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadPlugin } from '../plugins/index.ts'
import type { Call, Options } from './call.ts'
import { loadHere } from './local.ts'
import { CliError, table } from './terminal.ts'

/** A channel that works, for a platform that does not exist; the name is exchanged. */
const template = join(import.meta.dirname, '../../templates/channel')
const IN_TEMPLATE = 'pigeon'

export async function newPlugin({ terminal }: Call, [name = '', folder = name]: readonly string[], { channel }: Options): Promise<void> {
  const { t } = terminal
  if (channel !== true)
    throw new CliError(t({ en: 'Say what it adds: --channel.', zh: '请说明插件添加什么：--channel。' }), 2, 'posthouse plugin new --help')
  if (!/^[a-z][a-z0-9]{1,31}$/.test(name))
    throw new CliError(
      t({ en: 'A name has 2 to 32 small letters and digits.', zh: '名称为 2 到 32 个小写字母和数字。' }),
      2,
      'posthouse plugin new --help',
    )
  const target = resolve(folder)
  if (existsSync(target) && readdirSync(target).length > 0)
    throw new CliError(t({ en: `${folder}: there is something already.`, zh: `${folder}：已有内容。` }), 2)
  mkdirSync(target, { recursive: true })
  cpSync(template, target, { recursive: true })
  for (const path of filesBelow(target)) {
    writeFileSync(path, named(readFileSync(path, 'utf8'), name))
    if (path.includes(IN_TEMPLATE, target.length)) renameSync(path, join(dirname(path), named(path.slice(dirname(path).length + 1), name)))
  }
  addPackages(join(target, 'package.json'))
  terminal.result(
    { name, folder: target },
    t({
      en: `${folder}: a channel that works, for a platform that does not exist. Make it yours, from src/receive.ts on.`,
      zh: `${folder}：一个可运行的渠道，面向一个虚构的平台。请从 src/receive.ts 开始改成你的。`,
    }),
    `cd ${folder} && npm install && npm test`,
  )
}

function named(text: string, name: string): string {
  const title = name.charAt(0).toUpperCase() + name.slice(1)
  return text.replaceAll(IN_TEMPLATE, name).replaceAll('Pigeon', title).replaceAll(IN_TEMPLATE.toUpperCase(), name.toUpperCase())
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}

/** Those of this very program, so that the contract is the same. */
function addPackages(path: string): void {
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
  const at = (name: string) => {
    const source = fileURLToPath(import.meta.resolve(name))
    return `file:${relative(dirname(path), resolve(dirname(source), '..'))}`
  }
  manifest.dependencies = { '@posthouse/contract': at('@posthouse/contract') }
  manifest.devDependencies = { '@posthouse/testkit': at('@posthouse/testkit') }
  writeFileSync(path, `${JSON.stringify(manifest, null, 2)}\n`)
}

export async function listPlugins({ config: given, terminal }: Call): Promise<void> {
  const { config, path, problems } = loadHere(given)
  const rows = (config?.plugins ?? []).map((folder) => {
    const { id, version, channels } = loadPlugin(resolve(dirname(path ?? '.'), folder))
    return { id, version, folder, channels: channels.map((channel) => channel.id) }
  })
  const broken = problems.filter((problem) => problem.path[0] === 'plugins')
  if (broken.length > 0) throw new CliError(broken.map(({ text }) => terminal.t(text)).join('\n'), 2, 'posthouse config check')
  terminal.result(
    rows,
    rows.length > 0
      ? table(
          terminal.t({ en: 'id|version|channels|folder', zh: 'ID|版本|渠道|文件夹' }).split('|'),
          rows.map(({ id, version, channels, folder }) => [id, version, channels.join(', '), folder]),
        )
      : terminal.t({ en: 'No plugins.', zh: '没有插件。' }),
    rows.length > 0 ? 'posthouse channel list' : 'posthouse plugin new --channel NAME',
  )
}
