/**
 * A server as a program of its own: one message a line on its input and output. It may hang, end, flood and print nonsense; what it sends is
 * bounded before it is kept, and it is ended with everything that it started.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import type { Transport } from '@modelcontextprotocol/client'
import type { Clock } from '../base/clock.ts'
import type { McpServer } from '../ports/mcp.ts'
import { McpFault } from './fault.ts'
import type { Sdk } from './sdk.ts'

/** Bytes of one message. */
const MOST_LINE = 4 * 1024 * 1024
/** Lines and bytes within a window of time. */
const WINDOW = 10_000
const MOST_LINES = 2000
const MOST_BYTES = 32 * 1024 * 1024
/** Lines that are no messages: a program that prints its log there is told apart from one that talks nonsense. */
const MOST_GARBAGE = 100
/** Bytes that it has not read yet. */
const MOST_UNREAD = 4 * 1024 * 1024
/** Of the error output: what is kept, and what is read in a second; a program that writes more waits. */
const KEPT_ERRORS = 4096
const MOST_ERRORS = 256 * 1024
/** Milliseconds from the end of its input to SIGTERM, and from there to SIGKILL. */
const PATIENCE = 1000
const LAST_PATIENCE = 2000
const LAST_WORDS = 500

type Program = Extract<McpServer['reach'], { kind: 'program' }>

export interface ProgramTransport extends Transport {
  /** Why it ended; undefined while it runs. */
  readonly fault: McpFault | undefined
  /** The last that it said on its error output. For the terminal of its owner alone: it may quote anything. */
  readonly errors: string
}

export function createProgramTransport({ deserializeMessage, serializeMessage }: Sdk, program: Program, clock: Clock): ProgramTransport {
  let child: ChildProcessByStdio<Writable, Readable, Readable> | undefined
  let fault: McpFault | undefined
  let errors = ''
  let closing: Promise<void> | undefined
  const ended = Promise.withResolvers<void>()

  const fail = (why: McpFault) => {
    if (fault || closing) return
    fault = why
    transport.onerror?.(why)
    // It has shown that it does not listen.
    void end(0)
  }

  /** Its input ends; who is still there after `patience` is told to end, and killed at last, with all that it started. */
  function end(patience: number): Promise<void> {
    closing ??= (async () => {
      if (child) {
        child.stdin.end()
        if (patience > 0) await gone(patience)
        if (kill(child, 'SIGTERM') && patience > 0) await gone(LAST_PATIENCE)
        kill(child, 'SIGKILL')
        await gone(LAST_PATIENCE)
        release(child)
        child.stdin.destroy()
        child.stdout.destroy()
        child.stderr.destroy()
      }
      transport.onclose?.()
    })()
    return closing
  }

  async function gone(patience: number) {
    const late = new AbortController()
    await Promise.race([ended.promise, clock.sleep(patience, late.signal)])
    late.abort()
  }

  const read = createLines({
    clock,
    fail,
    line(text) {
      let message: Parameters<NonNullable<Transport['onmessage']>>[0]
      try {
        message = deserializeMessage(text)
      } catch {
        return false
      }
      if (!closing) transport.onmessage?.(message)
      return true
    },
  })

  const transport: ProgramTransport = {
    get fault() {
      return fault
    },
    get errors() {
      return errors
    },
    async start() {
      const [name = '', ...args] = program.command
      const { promise: begun, resolve, reject } = Promise.withResolvers<void>()
      const unreachable = (error: NodeJS.ErrnoException) =>
        new McpFault('mcp-unreachable', `the program cannot be started: ${error.code ?? error.name}`)
      try {
        // A group of its own, so that what it starts ends with it.
        child = spawn(name, args, {
          cwd: program.folder,
          env: program.env,
          stdio: ['pipe', 'pipe', 'pipe'],
          detached: true,
          shell: false,
        })
      } catch (error) {
        fault = unreachable(error as NodeJS.ErrnoException)
        throw fault
      }
      keep(child)
      child.once('spawn', resolve)
      child.once('error', (error: NodeJS.ErrnoException) => {
        ended.resolve()
        const why = unreachable(error)
        reject(why)
        fail(why)
      })
      const { stdout } = child
      const silent = new Promise<void>((done) => void stdout.once('end', done))
      child.once('exit', (code, signal) => {
        ended.resolve()
        // What it said last may still be on its way; one that it started may hold the line for ever.
        void Promise.race([silent, clock.sleep(LAST_WORDS)]).then(() =>
          fail(new McpFault('mcp-ended', `the program ended with ${signal ?? `code ${code}`}`)),
        )
      })
      // A broken pipe is told by the end of the program.
      child.stdin.on('error', () => {})
      stdout.on('data', (chunk: Buffer) => {
        if (!closing) read(chunk)
      })
      slowly(child.stderr, MOST_ERRORS, clock, (chunk) => {
        errors = (errors + chunk.toString('utf8')).slice(-KEPT_ERRORS)
      })
      await begun
    },
    async send(message) {
      if (!child || closing) throw new McpFault('mcp-ended', 'the program is not there')
      if (child.stdin.writableLength > MOST_UNREAD) {
        fail(new McpFault('mcp-silent', 'the program does not read its input'))
        throw fault ?? new McpFault('mcp-silent', 'the program does not read its input')
      }
      child.stdin.write(serializeMessage(message))
    },
    close: () => end(PATIENCE),
  }
  return transport
}

/** Cuts what comes into lines; `line` answers whether it was a message. */
function createLines({
  clock,
  fail,
  line,
}: {
  readonly clock: Clock
  fail(fault: McpFault): void
  line(text: string): boolean
}): (chunk: Buffer) => void {
  let begun: Buffer[] = []
  let size = 0
  let since = clock.elapsed()
  let lines = 0
  let bytes = 0
  let garbage = 0
  return (chunk) => {
    const now = clock.elapsed()
    if (now - since > WINDOW) {
      since = now
      lines = 0
      bytes = 0
    }
    bytes += chunk.length
    let from = 0
    for (let at = chunk.indexOf(10); ; at = chunk.indexOf(10, from)) {
      const piece = chunk.subarray(from, at < 0 ? chunk.length : at)
      size += piece.length
      if (size > MOST_LINE) return fail(new McpFault('mcp-flood', `a message of more than ${MOST_LINE} bytes`))
      if (bytes > MOST_BYTES || lines > MOST_LINES)
        return fail(new McpFault('mcp-flood', `more than ${MOST_LINES} messages or ${MOST_BYTES} bytes within ${WINDOW / 1000} s`))
      if (piece.length > 0) begun.push(piece)
      if (at < 0) return
      const text = Buffer.concat(begun, size).toString('utf8')
      begun = []
      size = 0
      lines += 1
      from = at + 1
      if (text.trim() !== '' && !line(text) && ++garbage > MOST_GARBAGE)
        return fail(new McpFault('mcp-garbage', `more than ${MOST_GARBAGE} lines that are no messages`))
    }
  }
}

/** Reads no more than `most` bytes in a second; who writes more waits for us. */
function slowly(stream: Readable, most: number, clock: Clock, take: (chunk: Buffer) => void): void {
  let left = most
  let pause: Disposable | undefined
  stream.on('error', () => {})
  stream.on('close', () => pause?.[Symbol.dispose]())
  stream.on('data', (chunk: Buffer) => {
    take(chunk.subarray(-KEPT_ERRORS))
    left -= chunk.length
    if (left > 0) return
    stream.pause()
    pause = clock.after(1000, () => {
      left = most
      stream.resume()
    })
  })
}

/** Programs that run: none outlives us, however we end (but for kill -9, where the end of its input is all that it learns). */
const running = new Set<number>()
let watched = false

function keep({ pid }: { readonly pid?: number | undefined }): void {
  if (pid === undefined) return
  running.add(pid)
  if (watched) return
  watched = true
  process.once('exit', () => {
    for (const group of running) killGroup(group, 'SIGKILL')
  })
}

function release({ pid }: { readonly pid?: number | undefined }): void {
  if (pid !== undefined) running.delete(pid)
}

/** Answers whether anybody was there to be told. */
function kill({ pid }: { readonly pid?: number | undefined }, signal: NodeJS.Signals): boolean {
  return pid !== undefined && killGroup(pid, signal)
}

function killGroup(pid: number, signal: NodeJS.Signals): boolean {
  try {
    // Below zero: the group.
    return process.kill(-pid, signal)
  } catch {
    return false
  }
}
