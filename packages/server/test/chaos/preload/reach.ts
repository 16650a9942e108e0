/** Where the points of a crash are passed. */
import { appendFileSync } from 'node:fs'
import { points } from '../points.ts'

const names = new Map(points.map(({ seam, when, name }) => [`${when} ${seam}`, name]))
const passed = new Set<string>()

/** A seam is passed: written down in the file CHAOS_REACHED; the process dies when it is the point CHAOS_CRASH_AT. */
export function reach(when: 'before' | 'after', seam: string): void {
  const name = names.get(`${when} ${seam}`)
  if (name === undefined) return
  const { CHAOS_REACHED: file, CHAOS_CRASH_AT: deadly } = process.env
  if (file && !passed.has(name)) appendFileSync(file, `${name}\n`)
  passed.add(name)
  if (name === deadly) process.kill(process.pid, 'SIGKILL')
}

/** The same call, told before and after. */
export function around<A extends unknown[], R>(seam: string | ((...args: A) => string), work: (...args: A) => R): (...args: A) => R {
  return (...args) => {
    const name = typeof seam === 'string' ? seam : seam(...args)
    reach('before', name)
    const result = work(...args)
    if (!(result instanceof Promise)) {
      reach('after', name)
      return result
    }
    return result.then((value) => {
      if (value !== undefined || name !== 'turns.claim') reach('after', name)
      return value
    }) as R
  }
}
