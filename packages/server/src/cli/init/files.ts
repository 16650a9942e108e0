/** Writing the configuration: whole or not at all, never over a file without a copy of it. */
import { closeSync, constants, copyFileSync, existsSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { catalog } from '../../catalog.ts'
import { jsonSchema } from '../../config/index.ts'
import { holdsSecret, type Plan, renderPlan } from './plan.ts'

/** Beside the configuration, so that editors find it without a network. */
export const SCHEMA_FILE = 'posthouse.schema.json'

/** The first free of `posthouse.yaml.1`, `.2` ... */
export function copyName(path: string): string {
  let number = 1
  while (existsSync(`${path}.${number}`)) number++
  return `${path}.${number}`
}

/** Answers where the old file was kept; undefined when there was none. */
export function writeFiles(path: string, plan: Plan): string | undefined {
  const copy = existsSync(path) ? copyName(path) : undefined
  if (copy !== undefined) copyFileSync(path, copy, constants.COPYFILE_EXCL)
  const draft = `${path}.new`
  rmSync(draft, { force: true })
  const file = openSync(draft, 'wx', holdsSecret(plan) ? 0o600 : 0o644)
  try {
    writeSync(file, renderPlan(plan, SCHEMA_FILE))
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(draft, path)
  writeFileSync(join(dirname(path), SCHEMA_FILE), `${JSON.stringify(jsonSchema(catalog), null, 2)}\n`)
  return copy
}
