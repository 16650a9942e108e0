/** Accounts whose settings stand in a file of their own (`connector: ./connectors/zulip.yaml`), so that a connector can be shared as it is. */
import { basename, dirname, resolve } from 'node:path'
import { type ConfigDocument, readDocument, readText } from './document.ts'
import { isSection } from './legacy.ts'
import { type Problem, words } from './validate.ts'

/** Puts what the files say below what the accounts themselves say. `path`: of the configuration, which names the files. */
export function withConnectors(document: ConfigDocument, path: string, env: NodeJS.ProcessEnv): ConfigDocument {
  const { value } = document
  const channels = isSection(value) && isSection(value.channels) ? value.channels : {}
  const named = Object.entries(channels).flatMap(([id, account]) =>
    isSection(account) && typeof account.connector === 'string' ? [{ id, account, connector: account.connector }] : [],
  )
  if (named.length === 0) return document
  const inner = new Map<string, { readonly document: ConfigDocument; readonly file: string; readonly own: Record<string, unknown> }>()
  const problems: Problem[] = [...document.problems]
  const files = new Set(document.files)
  const secrets = new Set(document.secrets)
  const merged: Record<string, unknown> = { ...channels }
  for (const { id, account, connector } of named) {
    const file = resolve(dirname(resolve(path)), connector)
    files.add(file)
    const text = readConnector(file)
    if (typeof text !== 'string') {
      problems.push({ path: ['channels', id, 'connector'], message: text })
      continue
    }
    const read = readDocument(text, file, env)
    for (const secret of read.secrets) secrets.add(secret)
    for (const each of read.files) files.add(each)
    for (const problem of read.problems)
      problems.push({
        ...problem,
        path: ['channels', id, ...problem.path],
        at: { ...(problem.at ?? read.position(problem.path)), file: basename(file) },
      })
    inner.set(id, { document: read, file: basename(file), own: account })
    merged[id] = merge(isSection(read.value) ? read.value : {}, account)
  }
  return {
    ...document,
    value: { ...(value as object), channels: merged },
    problems,
    files,
    secrets,
    position(keys) {
      const [first, id, ...rest] = keys
      const from = first === 'channels' ? inner.get(String(id)) : undefined
      if (!from || rest.length === 0 || isThere(from.own, rest)) return document.position(keys)
      return { ...from.document.position(rest), file: from.file }
    },
  }
}

/** The same for an account whose settings stand alone at `path`. */
export function withConnector(document: ConfigDocument, path: string, env: NodeJS.ProcessEnv): ConfigDocument {
  const { value } = document
  if (!isSection(value) || typeof value.connector !== 'string') return document
  const file = resolve(dirname(resolve(path)), value.connector)
  const text = readConnector(file)
  if (typeof text !== 'string') return { ...document, problems: [...document.problems, { path: ['connector'], message: text }] }
  const below = readDocument(text, file, env)
  return {
    ...document,
    value: merge(isSection(below.value) ? below.value : {}, value),
    problems: [...document.problems, ...below.problems],
    position: (keys) => (isThere(value, keys) ? document.position(keys) : { ...below.position(keys), file: basename(file) }),
  }
}

function readConnector(file: string) {
  try {
    const read = readText(file)
    return 'text' in read ? read.text : read.problem
  } catch {
    return words('there is no such file that can be read', '文件不存在或无法读取')
  }
}

/** Sections are put together, everything else is the account's own where it has it. */
function merge(below: Record<string, unknown>, own: Record<string, unknown>): Record<string, unknown> {
  const all: Record<string, unknown> = { ...below, ...own }
  for (const [key, value] of Object.entries(own)) {
    const under = below[key]
    if (isSection(value) && isSection(under)) all[key] = merge(under, value)
  }
  return all
}

function isThere(section: unknown, [key, ...rest]: readonly (string | number)[]): boolean {
  if (key === undefined) return true
  return isSection(section) && Object.hasOwn(section, key) && (rest.length === 0 || isThere(section[key], rest))
}
