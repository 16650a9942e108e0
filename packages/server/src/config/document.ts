/** A configuration file as text: parsed with positions, with its secrets put in. */
import { readFileSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type Document, isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml'
import type { Problem } from './validate.ts'

export interface ConfigDocument {
  readonly value: unknown
  readonly problems: readonly Problem[]
  /** Line and column of a key, from 1; of the nearest part of the path that exists. */
  position(path: readonly (string | number)[]): { readonly line: number; readonly column: number }
  /** Values that came from `${...}` or from keys that name secrets. */
}

const MOST_BYTES = 256 * 1024
const MOST_SECRET = 64 * 1024

/** Reads YAML. Aliases are bounded, custom tags are refused; `path` is what relative `${file:...}` refer to. */
export function readDocument(text: string, path: string, env: NodeJS.ProcessEnv): ConfigDocument {
  const problems: Problem[] = []
  const lines = new LineCounter()
  if (Buffer.byteLength(text) > MOST_BYTES) {
    return { value: {}, problems: [{ path: [], message: `larger than ${MOST_BYTES / 1024} KB` }], position: () => ({ line: 1, column: 1 }) }
  }
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true, merge: false })
  const position = (keys: readonly (string | number)[]) => positionOf(document, lines, keys)
  const placed: { line: number; column: number; message: string }[] = []
  for (const error of [...document.errors, ...document.warnings]) {
    const { line, col } = lines.linePos(error.pos[0])
    placed.push({ line, column: col, message: error.message })
  }
  if (placed.length > 0) {
    const first = placed[0]
    return {
      value: {},
      problems: placed.map(({ message }) => ({ path: [], message })),
      position: () => ({ line: first?.line ?? 1, column: first?.column ?? 1 }),
    }
  }
  let value: unknown = {}
  try {
    value = document.toJS({ maxAliasCount: 50 }) ?? {}
  } catch (error) {
    problems.push({ path: [], message: (error as Error).message })
  }
  return { value: resolveSecrets(value, [], dirname(resolve(path)), env, problems, 0), problems, position }
}

const MOST_DEPTH = 32
const REFERENCE = /\$\{(env|file):([^}]*)\}/g

/** Puts `${env:NAME}` and `${file:path}` in. */
function resolveSecrets(
  value: unknown,
  path: (string | number)[],
  folder: string,
  env: NodeJS.ProcessEnv,
  problems: Problem[],
  depth: number,
): unknown {
  if (depth > MOST_DEPTH) {
    problems.push({ path, message: `nested deeper than ${MOST_DEPTH} levels` })
    return undefined
  }
  if (typeof value === 'string') {
    return value.replace(REFERENCE, (_, kind: string, name: string) => {
      const found = kind === 'env' ? env[name] : readSecret(resolve(folder, name))
      if (found !== undefined) return found
      problems.push({
        path,
        message:
          kind === 'env'
            ? `the environment variable ${name} is not set`
            : `the file ${name} cannot be read (or has more than ${MOST_SECRET / 1024} KB)`,
      })
      return ''
    })
  }
  if (Array.isArray(value)) return value.map((entry, index) => resolveSecrets(entry, [...path, index], folder, env, problems, depth + 1))
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([key, entry]) => [key, resolveSecrets(entry, [...path, key], folder, env, problems, depth + 1)]),
    )
  }
  return value
}

function readSecret(path: string): string | undefined {
  try {
    if (statSync(path).size > MOST_SECRET) return undefined
    return readFileSync(path, 'utf8').trimEnd()
  } catch {
    return undefined
  }
}

function positionOf(document: Document.Parsed, lines: LineCounter, path: readonly (string | number)[]): { line: number; column: number } {
  let node: unknown = document.contents
  let offset = 0
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
