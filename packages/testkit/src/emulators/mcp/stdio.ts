/**
 * The emulated server of tools as a program: `posthouse emulate mcp --stdio`, or this file itself. MCP_FOLDER names a folder with `script.json`, which is
 * looked at with every message, and `ledger`, to which is added what was asked.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { McpEntry, McpFault, McpScript } from './script.ts'
import { createSpeaker, spoilt } from './speech.ts'

const LOOK_AT_SCRIPT = 25
const CHUNK = 64 * 1024
/** Bytes of a line without an end: enough to be seen, and too little to take the machine along. */
const FLOOD = 600 * 1024 * 1024

/** Speaks over input and output until the input ends. */
export async function runMcpProgram(folder: string | undefined): Promise<void> {
  const file = folder === undefined ? undefined : join(folder, 'script.json')
  const script = (): McpScript => {
    try {
      return file === undefined ? {} : (JSON.parse(readFileSync(file, 'utf8')) as McpScript)
    } catch {
      return {}
    }
  }
  const write = (entry: Omit<McpEntry, 'at' | 'pid'>) => {
    if (folder !== undefined) appendFileSync(join(folder, 'ledger'), `${JSON.stringify({ at: Date.now(), pid: process.pid, ...entry })}\n`)
  }
  const say = (what: object | string) => process.stdout.write(`${typeof what === 'string' ? what : JSON.stringify(what)}\n`)
  const changed = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' }

  write({ what: 'start', environment: Object.keys(process.env).toSorted() })
  process.stdout.on('error', () => process.exit(1))
  let announced = script().announced ?? 0
  const watching = setInterval(() => {
    const now = script().announced ?? 0
    for (; announced < now; announced++) say(changed)
  }, LOOK_AT_SCRIPT)
  const speaker = createSpeaker(script, write)
  let deaf = false
  for await (const line of createInterface({ input: process.stdin })) {
    if (deaf || line.trim() === '') continue
    let message: unknown
    try {
      message = JSON.parse(line)
    } catch {
      message = undefined
    }
    const said = speaker.hear(message)
    if (!said?.answer) continue
    const { answer, fault } = said
    if (!fault) say(answer)
    else {
      deaf = fault.kind === 'hang' || fault.kind === 'flood-line'
      await play(fault, answer, say)
    }
  }
  clearInterval(watching)
  // One that hangs does not hear either that it is to end.
  if (deaf) {
    process.on('SIGTERM', () => {})
    // Nor does it outlive the test that made its folder.
    setInterval(() => {
      if (folder !== undefined && !existsSync(folder)) process.exit(1)
    }, 1000)
    return
  }
  write({ what: 'end' })
}

async function play(fault: McpFault, answer: Record<string, unknown>, say: (what: object | string) => void): Promise<void> {
  const { kind, ms = 1000 } = fault
  if (kind === 'exit') process.exit(1)
  if (kind === 'flood-line') for (let chunks = 0; chunks < FLOOD / CHUNK; chunks++) await pour(process.stdout, 'x'.repeat(CHUNK))
  if (kind === 'flood-messages')
    for (;;)
      await pour(
        process.stdout,
        `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"on and on"}}\n`.repeat(100),
      )
  if (kind === 'flood-errors') {
    // Beside, for ever; the answer comes all the same.
    void (async () => {
      for (;;) await pour(process.stderr, 'x'.repeat(CHUNK))
    })()
    return say(answer)
  }
  if (kind === 'garbage') for (let line = 0; line < 200; line++) say('Server started. Listening {')
  if (kind === 'slow') await new Promise((resolve) => setTimeout(resolve, ms))
  const said = kind === 'garbage' || kind === 'flood-line' ? undefined : spoilt(answer, fault)
  if (said !== undefined) say(said)
}

/** Waits until it was read. */
const pour = (stream: NodeJS.WriteStream, text: string) => new Promise<void>((resolve) => stream.write(text, () => resolve()))

if (import.meta.main) await runMcpProgram(process.env.MCP_FOLDER)
