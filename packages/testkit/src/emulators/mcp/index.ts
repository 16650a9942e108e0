/**
 * A server of tools (Model Context Protocol) to test against, at an address or as a program. It is strict, does wrong what its script says, and
 * writes down what it was asked: what a call did is judged by that ledger.
 */
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import type { McpEntry, McpScript } from './script.ts'

export { createMcpEmulator, type McpEmulator, type McpEmulatorOptions } from './http.ts'
export { type McpEntry, type McpFault as McpServerFault, type McpScript, type McpTool, usualTools as usualMcpTools } from './script.ts'
export { runMcpProgram } from './stdio.ts'

/** A program that somebody else starts, told what to do by a folder. */
export interface McpProgram extends Disposable {
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly ledger: readonly McpEntry[]
  play(script: McpScript): void
  heal(): void
}

export function createMcpProgram(): McpProgram {
  const folder = mkdtempSync(join(tmpdir(), 'posthouse-mcp-'))
  const ledger = join(folder, 'ledger')
  let announced = 0
  const play = (script: McpScript) => {
    announced = script.announced ?? announced
    // Whole or not at all: it is read at any time.
    writeFileSync(join(folder, 'next.json'), JSON.stringify({ announced, ...script }))
    renameSync(join(folder, 'next.json'), join(folder, 'script.json'))
  }
  return {
    command: [process.execPath, join(import.meta.dirname, `stdio${extname(import.meta.filename)}`)],
    env: { MCP_FOLDER: folder },
    get ledger() {
      if (!existsSync(ledger)) return []
      const lines = readFileSync(ledger, 'utf8').split('\n').filter(Boolean)
      return lines.map((line) => JSON.parse(line) as McpEntry)
    },
    play,
    heal: () => play({}),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}
