import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { nodeFlags } from '../../bin/node-flags.mjs'
import type { Clock } from '../base/clock.ts'
import { returnMemory } from './memory.ts'

const MB = 1024 * 1024

/** A heap that shrinks to 40 MB, looked at as often as is asked. */
function scene({ exposed = true } = {}) {
  let look: (() => void) | undefined
  const clock = {
    every: (_ms: number, task: () => void) => {
      look = task
      return { [Symbol.dispose]: () => (look = undefined) }
    },
  } as unknown as Clock
  const state = { size: 70 * MB, used: 0.01, atWork: false, shrunk: 0 }
  const shrink = () => {
    state.size = 40 * MB
    state.shrunk++
  }
  const returning = returnMemory({
    clock,
    atWork: () => state.atWork,
    heap: { size: () => state.size, used: () => state.used, shrink: exposed ? shrink : undefined },
  })
  const looks = (times: number) => {
    for (let time = 0; time < times; time++) look?.()
    return state.shrunk
  }
  return { state, looks, returning }
}

describe('memory', () => {
  it('goes back once there was little to do for two looks', () => {
    const { looks } = scene()
    assert.equal(looks(1), 0)
    assert.equal(looks(1), 1)
  })

  it('is asked back again only when the heap has grown', () => {
    const { looks, state } = scene()
    assert.equal(looks(10), 1)
    state.size += 15 * MB
    assert.equal(looks(10), 1)
    state.size += MB
    assert.equal(looks(1), 2)
  })

  it('stays under load, and while somebody waits for an answer', () => {
    const { looks, state } = scene()
    state.used = 0.3
    assert.equal(looks(10), 0)
    state.used = 0.01
    state.atWork = true
    assert.equal(looks(10), 0)
    state.atWork = false
    assert.equal(looks(1), 0, 'a pause between two turns is no quiet time')
    assert.equal(looks(1), 1)
  })

  it('is left to V8 where no collection can be asked for', () => {
    const { looks } = scene({ exposed: false })
    assert.equal(looks(10), 0)
  })

  it('is not looked after any more after the end', () => {
    const { looks, returning } = scene()
    returning[Symbol.dispose]()
    assert.equal(looks(10), 0)
  })

  it('goes back in a process with the flags of the gateway', async () => {
    const program = `
      const { returnMemory } = await import(${JSON.stringify(new URL('memory.ts', import.meta.url).href)})
      let look
      returnMemory({ clock: { every: (_, task) => void (look = task) }, atWork: () => false })
      const needed = Array.from({ length: 1_000_000 }, (_, at) => ({ at }))
      needed.length = 0
      const before = process.memoryUsage().heapTotal
      const half = () => process.memoryUsage().heapTotal < before / 2
      // A machine that is busy with others finds its quiet time late.
      for (let looks = 0; looks < 600 && !half(); looks++) {
        await new Promise((resolve) => setTimeout(resolve, 50))
        look()
      }
      console.log(half())`
    const { stdout } = await promisify(execFile)(process.execPath, [...nodeFlags, '--input-type=module', '--eval', program])
    assert.equal(stdout.trim(), 'true')
  })
})
