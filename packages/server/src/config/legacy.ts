/** Forms that the field's own guides use, brought into ours. Each one found is told, so that the file can be brought up to date. */

/** Answers the mapped value and what was mapped. */
export function mapForms(value: unknown): { value: Record<string, unknown>; notices: string[] } {
  const notices: string[] = []
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { value: { '': value }, notices }
  const root: Record<string, unknown> = { ...(value as Record<string, unknown>) }
  mapPlatforms(root, notices)
  mapModels(root, notices)
  return { value: root, notices }
}

function mapPlatforms(root: Record<string, unknown>, notices: string[]): void {
  const channels: Record<string, unknown> = { ...(isSection(root.channels) ? root.channels : {}) }
  if (Array.isArray(root.platforms)) {
    for (const entry of root.platforms) {
      if (!isSection(entry)) continue
      const { type, name, platform, id, config, settings, ...rest } = entry
      const kind = String(type ?? platform ?? name ?? '')
      const inner = { ...(isSection(config) ? config : {}), ...(isSection(settings) ? settings : {}) }
      channels[String(id ?? name ?? kind)] = { type: kind, ...rest, ...inner }
    }
    delete root.platforms
    root.channels = channels
    notices.push('platforms: was read as channels:. Move its entries there, with the account name as key.')
  }
  if (Array.isArray(root.supported_platforms)) {
    const wanted = new Set(root.supported_platforms.map((entry) => String(isSection(entry) ? (entry.type ?? entry.name) : entry)))
    for (const [name, channel] of Object.entries(channels)) {
      if (isSection(channel) && !wanted.has(name) && !wanted.has(String(channel.type))) channels[name] = { ...channel, enabled: false }
    }
    delete root.supported_platforms
    root.channels = channels
    notices.push('supported_platforms: was read as the list of accounts that are on. Use `enabled: false` on the others instead.')
  }
}

function mapModels(root: Record<string, unknown>, notices: string[]): void {
  if (!isSection(root.models)) return
  const models = { ...root.models }
  if ('default' in models && !('primary' in models)) {
    models.primary = models.default
    delete models.default
    notices.push('models.default: was read as models.primary. Rename it.')
  }
  root.models = models
}

function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
