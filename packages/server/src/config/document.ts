/** A configuration file as text: parsed with positions, with its secrets put in. */
import { readFileSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import type { Bilingual } from '@posthouse/contract'
import { type Document, isMap, isScalar, isSeq, LineCounter, parseDocument, type YAMLError } from 'yaml'
import { type Position, type Problem, words } from './validate.ts'

type Path = readonly (string | number)[]

export interface ConfigDocument {
  readonly value: unknown
  readonly problems: readonly Problem[]
  /** Values that came from `${...}`: no message may show them. */
  readonly secrets: ReadonlySet<string>
  /** Files that `${file:...}` names, whether they could be read or not. */
  readonly files: ReadonlySet<string>
  /** Line and column of a key, from 1; of the nearest part of the path that exists. */
  position(path: Path): Position
  /** The value as it is written, before anything was put in; undefined where there is none. */
  written(path: Path): unknown
}

const MOST_BYTES = 256 * 1024
const MOST_ALIASES = 50
const TOO_LARGE = words(`larger than ${MOST_BYTES / 1024} KB`, `超过 ${MOST_BYTES / 1024} KB`)

/**
 * Reads a file's text; a file that is none, is too large or is not UTF-8 is a problem.
 * @throws what the file system says.
 */
export function readText(path: string): { readonly text: string } | { readonly problem: Bilingual } {
  const file = statSync(path)
  if (!file.isFile()) return { problem: words('this is not a file', '这不是普通文件') }
  if (file.size > MOST_BYTES) return { problem: TOO_LARGE }
  try {
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path)) }
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    return { problem: words('the file is not UTF-8; save it in that encoding', '文件不是 UTF-8 编码；请以 UTF-8 保存') }
  }
}

/** Reads YAML. Aliases are bounded; tags of other languages, merge keys and several documents are refused. `path` is what relative `${file:...}` refer to. */
export function readDocument(text: string, path: string, env: NodeJS.ProcessEnv): ConfigDocument {
  const nothing = {
    value: {},
    secrets: new Set<string>(),
    files: new Set<string>(),
    position: () => ({ line: 1, column: 1 }),
    written: () => undefined,
  }
  if (Buffer.byteLength(text) > MOST_BYTES) return { ...nothing, problems: [{ path: [], message: TOO_LARGE }] }
  const lines = new LineCounter()
  const document = parseDocument(text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: true,
    merge: false,
    stringKeys: true,
    logLevel: 'error',
  })
  const faults = [...document.errors, ...document.warnings]
  if (faults.length > 0) return { ...nothing, problems: tellFaults(faults, lines) }
  let value: unknown
  try {
    value = document.toJS({ maxAliasCount: MOST_ALIASES }) ?? {}
  } catch (error) {
    // The words of the parser name what is written there, which may be a token.
    const message = (error as Error).message.startsWith('Unresolved')
      ? words(
          'an alias (*) without its anchor (&); a text that begins with * is written in quotes',
          '别名（*）没有对应的锚点（&）；以 * 开头的文本请加引号',
        )
      : words(`aliases (*) make the file too large; at most ${MOST_ALIASES}`, `别名（*）使内容过大；最多 ${MOST_ALIASES} 个`)
    return { ...nothing, problems: [{ path: [], message }] }
  }
  const placing: Placing = {
    folder: dirname(resolve(path)),
    env,
    problems: [],
    secrets: new Set(),
    files: new Set(),
    nodes: 0,
    excess: undefined,
  }
  const placed = putSecrets(value, [], placing)
  const position = (keys: Path) => positionOf(document, lines, keys)
  if (placing.excess) return { ...nothing, position, problems: [placing.excess] }
  return {
    value: placed,
    problems: placing.problems,
    secrets: placing.secrets,
    files: placing.files,
    position,
    written: (keys) => keys.reduce<unknown>((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], value),
  }
}

const FAULTS: Readonly<Partial<Record<YAMLError['code'], Bilingual>>> = {
  DUPLICATE_KEY: words('this key was there before', '键重复'),
  TAB_AS_INDENT: words('a tab; indent with spaces', '使用了制表符；请用空格缩进'),
  BAD_INDENT: words('the indentation does not fit, or a bracket is not closed', '缩进不一致，或括号未闭合'),
  MISSING_CHAR: words(
    'something is missing here: a colon behind a key, a closing quote or a bracket',
    '此处缺少内容：键后的冒号、引号或括号',
  ),
  BLOCK_AS_IMPLICIT_KEY: words('a second colon in one line; write the text in quotes', '一行中出现第二个冒号；请给文本加引号'),
  BAD_SCALAR_START: words('a text cannot begin with this character; write it in quotes', '文本不能以该字符开头；请加引号'),
  MULTIPLE_DOCS: words('a second document (---); one file holds one', '出现第二个文档（---）；一个文件只能有一个'),
  TAG_RESOLVE_FAILED: words('a tag (!) that is not accepted', '不接受的标签（!）'),
  NON_STRING_KEY: words('a key must be a plain word', '键必须是普通文本'),
  RESOURCE_EXHAUSTION: words('nested too deep', '嵌套过深'),
  BAD_DQ_ESCAPE: words('a \\ in double quotes begins an escape; use single quotes', '双引号内的 \\ 表示转义；请改用单引号'),
}
const NOT_YAML = words('this is not valid YAML', '不是有效的 YAML')
const MOST_FAULTS = 20

function tellFaults(faults: readonly YAMLError[], lines: LineCounter): Problem[] {
  // Behind the place where it is too deep nothing has a meaning.
  const deep = faults.find(({ code }) => code === 'RESOURCE_EXHAUSTION')
  return (deep ? [deep] : faults.slice(0, MOST_FAULTS)).map(({ code, pos }) => {
    const { line, col } = lines.linePos(pos[0])
    return { path: [], message: FAULTS[code] ?? NOT_YAML, at: { line: Math.max(1, line), column: Math.max(1, col) } }
  })
}

const MOST_DEPTH = 32
const MOST_NODES = 20_000
const MOST_SECRET = 64 * 1024
const REFERENCE = /\$\{(env|file):([^}]*)\}/g

interface Placing {
  readonly folder: string
  readonly env: NodeJS.ProcessEnv
  readonly problems: Problem[]
  readonly secrets: Set<string>
  readonly files: Set<string>
  nodes: number
  /** More than may be looked at: nothing else of the file is judged. */
  excess: Problem | undefined
}

/** Puts `${env:NAME}` and `${file:path}` in. */
function putSecrets(value: unknown, path: Path, placing: Placing): unknown {
  const { problems } = placing
  placing.nodes++
  if (placing.nodes > MOST_NODES)
    placing.excess ??= { path: [], message: words(`more than ${MOST_NODES} values`, `超过 ${MOST_NODES} 个值`) }
  if (path.length > MOST_DEPTH)
    placing.excess ??= {
      path: path.slice(0, 3),
      message: words(`nested deeper than ${MOST_DEPTH} levels`, `嵌套超过 ${MOST_DEPTH} 层`),
    }
  if (placing.excess) return undefined
  if (typeof value === 'string') return putInto(value, path, placing)
  if (Array.isArray(value)) return value.map((entry, index) => putSecrets(entry, [...path, index], placing))
  if (typeof value !== 'object' || value === null) return value
  const entries: [string, unknown][] = []
  for (const [key, entry] of Object.entries(value)) {
    const refused = REFUSED_KEYS.get(key)
    if (refused) problems.push({ path: [...path, key], message: refused })
    else entries.push([key, putSecrets(entry, [...path, key], placing)])
  }
  return Object.fromEntries(entries)
}

const REFUSED_KEYS: ReadonlyMap<string, Bilingual> = new Map([
  ['<<', words('merge keys (<<) are not accepted; write the keys out', '不接受合并键（<<）；请逐一写出各键')],
  ['__proto__', words('this key is not accepted', '不接受该键')],
])

function putInto(text: string, path: Path, { folder, env, problems, secrets, files }: Placing): string {
  const problem = (en: string, zh: string) => {
    problems.push({ path, message: words(en, zh) })
    return ''
  }
  const bare = /^\$(?:\{(\w{1,64})\}|([A-Z_][A-Z0-9_]{0,63}))$/.exec(text)
  if (bare) return problem(`write \${env:${bare[1] ?? bare[2]}} to refer to a variable`, `引用环境变量请写 \${env:${bare[1] ?? bare[2]}}`)
  return text.replace(REFERENCE, (_, kind: string, name: string) => {
    if (kind === 'file') files.add(resolve(folder, name))
    const found = kind === 'env' ? env[name] : readSecret(resolve(folder, name))
    if (found !== undefined && found !== '') {
      secrets.add(found)
      return found
    }
    if (kind === 'file')
      return problem(
        `the file ${name} cannot be read, is empty or has more than ${MOST_SECRET / 1024} KB`,
        `无法读取文件 ${name}，或文件为空，或超过 ${MOST_SECRET / 1024} KB`,
      )
    if (!/^\w{1,64}$/.test(name)) return problem('a variable has letters, digits and _ only', '变量名只能包含字母、数字和 _')
    return found === ''
      ? problem(`the environment variable ${name} is empty`, `环境变量 ${name} 为空`)
      : problem(`the environment variable ${name} is not set`, `未设置环境变量 ${name}`)
  })
}

function readSecret(path: string): string | undefined {
  try {
    const file = statSync(path)
    if (!file.isFile() || file.size > MOST_SECRET) return undefined
    return readFileSync(path, 'utf8').trimEnd()
  } catch {
    return undefined
  }
}

function positionOf(document: Document.Parsed, lines: LineCounter, path: Path): { line: number; column: number } {
  let node: unknown = document.contents
  let offset = (node as { range?: [number, number, number] } | null)?.range?.[0] ?? 0
  for (const key of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key))
      if (!pair) break
      offset = (isScalar(pair.key) && pair.key.range?.[0]) || offset
      node = pair.value
    } else if (isSeq(node)) {
      const item = node.items[Number(key)]
      const range = (item as { range?: [number, number, number] } | undefined)?.range
      if (!range) break
      offset = range[0]
      node = item
    } else break
  }
  const { line, col } = lines.linePos(offset)
  return { line: Math.max(1, line), column: Math.max(1, col) }
}
