/** What the emulator was asked and how each call ended. Lines are added and completed, never taken away. */
import type { ModelCall } from './script.ts'

type Writable<T> = { -readonly [K in keyof T]: T[K] }
export type OpenCall = Writable<ModelCall>

export interface Ledger {
  readonly calls: readonly ModelCall[]
  add(call: Omit<ModelCall, 'number' | 'chunks'>): OpenCall
  /** Tells those who wait that a line changed. */
  changed(call: ModelCall): void
  end(call: OpenCall, how: NonNullable<ModelCall['ended']>['how'], status: number): void
  waitFor(holds: (call: ModelCall) => boolean, limit: number): Promise<ModelCall>
}

/** `keep`: the newest lines keep the body of their request, older ones lose it, so that long loads fit into memory. */
export function createLedger(keep: number): Ledger {
  const calls: OpenCall[] = []
  const waiting = new Set<(call: ModelCall) => void>()
  const changed = (call: ModelCall) => {
    for (const look of waiting) look(call)
  }
  return {
    calls,
    add(call) {
      const line: OpenCall = { ...call, number: calls.length + 1, chunks: 0 }
      calls.push(line)
      const old = calls[calls.length - 1 - keep]
      if (old?.question) old.question = { ...old.question, body: {}, messages: [] }
      changed(line)
      return line
    },
    changed,
    end(call, how, status) {
      if (call.ended) return
      call.ended = { how, at: Date.now(), status }
      changed(call)
    },
    waitFor(holds, limit) {
      const found = calls.find(holds)
      if (found) return Promise.resolve(found)
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(look)
          const seen = calls.slice(-5).map(({ number, path, chunks, ended }) => ({ number, path, chunks, ended: ended?.how }))
          reject(new Error(`no such call within ${limit} ms; the last of ${calls.length} calls: ${JSON.stringify(seen)}`))
        }, limit)
        const look = (call: ModelCall) => {
          if (!holds(call)) return
          clearTimeout(timer)
          waiting.delete(look)
          resolve(call)
        }
        waiting.add(look)
      })
    },
  }
}
