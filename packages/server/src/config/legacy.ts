/** Forms that the field's own guides use, brought into ours. Each one found is told, so that the file can be brought up to date. */
import type { Bilingual } from '@posthouse/contract'
import { words } from './validate.ts'

type Path = readonly (string | number)[]
type Section = Readonly<Record<string, unknown>>

export interface Mapped {
  readonly value: Section
  readonly notices: readonly Bilingual[]
  /** Where in the file a mapped key was written. */
  origin(path: Path): Path
}

/** Maps the sections that have another form. */
export function mapForms(root: Section): Mapped {
  const notices: Bilingual[] = []
  const origins: { readonly to: Path; readonly from: Path; readonly inner?: Readonly<Record<string, Path>> }[] = []
  const { platforms, supported_platforms: supported, channels: given, models, ...rest } = root
  const channels = new Map(Object.entries(isSection(given) ? given : {}))
  // What is no section is told as such, not hidden behind a mapping.
  if (given !== undefined && given !== null && !isSection(given)) return { value: root, notices, origin: (path) => path }
  const isList = Array.isArray(platforms)
  const entries = isList ? platforms.entries() : isSection(platforms) ? Object.entries(platforms) : []
  for (const [key, entry] of entries) {
    const { id, account, inner } = readPlatform(isList ? '' : String(key), entry)
    const name = freeName(id, channels)
    channels.set(name, account)
    origins.push({ to: ['channels', name], from: ['platforms', key], inner })
  }
  const mapsPlatforms = isList || isSection(platforms)
  if (mapsPlatforms) {
    notices.push(
      words(
        'platforms: was read as channels:. Move its entries there, with the account name as key.',
        'platforms: 已按 channels: 读取。请将各项移到 channels: 下，以账号名为键。',
      ),
    )
  }
  if (Array.isArray(supported)) {
    const wanted = new Set(supported.map((entry) => String(isSection(entry) ? (entry.type ?? entry.name) : entry)))
    for (const [name, channel] of channels) {
      if (isSection(channel) && !wanted.has(name) && !wanted.has(String(channel.type))) channels.set(name, { ...channel, enabled: false })
    }
    notices.push(
      words(
        'supported_platforms: was read as the list of accounts that are on. Use `enabled: false` on the others instead.',
        'supported_platforms: 已按启用的账号列表读取。请改为在其他账号上写 `enabled: false`。',
      ),
    )
  }
  const mapsChannels = mapsPlatforms || Array.isArray(supported)
  const mapsDefault = isSection(models) && 'default' in models && !('primary' in models)
  if (mapsDefault) {
    origins.push({ to: ['models', 'primary'], from: ['models', 'default'] })
    notices.push(words('models.default: was read as models.primary. Rename it.', 'models.default: 已按 models.primary 读取。请改名。'))
  }
  return {
    value: {
      ...rest,
      ...('models' in root ? { models: mapsDefault ? renameDefault(models) : models } : {}),
      ...(mapsChannels ? { channels: Object.fromEntries(channels) } : 'channels' in root ? { channels: given } : {}),
      ...(platforms !== undefined && !mapsPlatforms ? { platforms } : {}),
      ...(supported !== undefined && !Array.isArray(supported) ? { supported_platforms: supported } : {}),
    },
    notices,
    origin(path) {
      const found = origins.find(({ to }) => to.every((key, index) => key === path[index]))
      if (!found) return path
      const behind = path.slice(found.to.length)
      return [...found.from, ...(found.inner?.[String(behind[0])] ?? []), ...behind]
    },
  }
}

/** `{ name, type | platform, id, ...settings, config | settings: {...} }`, or only the name. */
function readPlatform(key: string, entry: unknown): { id: string; account: unknown; inner: Readonly<Record<string, Path>> } {
  if (typeof entry === 'string' && key === '') return { id: entry, account: { type: entry }, inner: {} }
  if (!isSection(entry)) return { id: key || 'platform', account: entry, inner: {} }
  const { type, name, platform, id, config, settings, ...rest } = entry
  const kind = String(type ?? platform ?? (key || name) ?? '')
  const nested = (section: unknown, at: string) =>
    Object.keys(isSection(section) ? section : {}).map((name): [string, Path] => [name, [at]])
  return {
    id: key || String(id ?? name ?? kind),
    account: { type: kind, ...rest, ...(isSection(config) ? config : {}), ...(isSection(settings) ? settings : {}) },
    inner: Object.fromEntries([...nested(config, 'config'), ...nested(settings, 'settings')]),
  }
}

function freeName(id: string, taken: ReadonlyMap<string, unknown>): string {
  let name = id
  for (let number = 2; taken.has(name); number++) name = `${id}-${number}`
  return name
}

function renameDefault(models: unknown): Section {
  const { default: primary, ...rest } = models as Section
  return { ...rest, primary }
}

export function isSection(value: unknown): value is Section {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
