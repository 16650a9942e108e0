/** Plays an answer or a failure on a connection, at the given pace. */
import type { ServerResponse } from 'node:http'
import type { Ledger, OpenCall } from './ledger.ts'
import type { Failure, Pace } from './script.ts'
import type { Frames } from './wire.ts'

export interface Play {
  readonly response: ServerResponse
  readonly call: OpenCall
  readonly ledger: Ledger
  readonly frames: Frames
  readonly pace: Required<Pick<Pace, 'firstToken' | 'interval'>>
  readonly failure: Failure | undefined
}

const KEEP_ALIVE = 20

/** Failures that need no answer: they come before the first byte. Answers whether one was played. */
export function playEarly(response: ServerResponse, failure: Failure | undefined): boolean {
  if (failure?.kind === 'no-answer') return true
  if (failure?.kind === 'refuse') {
    response.socket?.resetAndDestroy()
    return true
  }
  if (failure?.kind !== 'web-page') return false
  response.writeHead(200, { 'content-type': 'text/html' }).end('<html><body><h1>Sign in to the network</h1></body></html>')
  return true
}

/** Streams the frames; ends the call's line in the ledger when the answer was handed over whole. */
export function play(options: Play): void {
  const { response, call, ledger, frames, pace, failure } = options
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
  const { tokens } = frames
  const stop = failure ? Math.min(failure.after ?? 0, tokens.length) : tokens.length
  const finish = () => {
    if (failure) fail(options, failure)
    else response.end(frames.tail)
  }

  if (pace.firstToken === 0 && pace.interval === 0) {
    call.chunks = stop
    const all = frames.head + tokens.slice(0, stop).join('')
    if (failure) response.write(all, () => fail(options, failure))
    else response.end(all + frames.tail)
    return
  }

  let timer: NodeJS.Timeout
  response.on('close', () => clearTimeout(timer))
  response.write(frames.head)
  const next = () => {
    if (call.chunks >= stop) return finish()
    response.write(tokens[call.chunks])
    call.chunks += 1
    ledger.changed(call)
    if (call.chunks >= stop && pace.interval === 0) return finish()
    timer = setTimeout(next, pace.interval)
  }
  timer = setTimeout(next, pace.firstToken)
}

function fail({ response, call, ledger, frames }: Play, failure: Failure): void {
  switch (failure.kind) {
    case 'reset':
      ledger.end(call, 'failed', 200)
      response.socket?.resetAndDestroy()
      return
    case 'truncated-json':
      ledger.end(call, 'failed', 200)
      response.end((frames.tokens[call.chunks] ?? frames.tail).replace(/\s+$/, '').slice(0, -10))
      return
    case 'error-event':
      ledger.end(call, 'failed', 200)
      response.end(frames.error(failure))
      return
    case 'early-end':
      ledger.end(call, 'failed', 200)
      response.end()
      return
    case 'no-first-token': {
      const beat = setInterval(() => response.write(': keep-alive\n\n'), KEEP_ALIVE)
      response.on('close', () => clearInterval(beat))
      return
    }
    default:
      // `stall`: the connection stays open and silent.
      return
  }
}
