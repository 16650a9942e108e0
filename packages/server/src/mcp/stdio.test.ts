import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { systemClock } from '../base/clock.ts'
import { loadSdk } from './sdk.ts'
import { createProgramTransport } from './stdio.ts'

const sdk = await loadSdk()
const clock = { ...systemClock, sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms / 10, signal) }

function start(script: string, command: readonly string[] = [process.execPath, '-e', script]) {
  const transport = createProgramTransport(sdk, { kind: 'program', command, env: {}, folder: process.cwd() }, clock)
  const heard: unknown[] = []
  const closed = Promise.withResolvers<void>()
  transport.onmessage = (message) => void heard.push(message)
  transport.onclose = () => closed.resolve()
  return { transport, heard, closed: closed.promise }
}

const lives = (pid: number) => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe('a server as a program', { concurrency: true }, () => {
  it('what is not there is unreachable', async () => {
    const { transport, closed } = start('', ['/no/such/program'])
    await assert.rejects(transport.start(), { code: 'mcp-unreachable', message: 'the program cannot be started: ENOENT' })
    await closed
  })

  it('nor is what the system refuses', async () => {
    const { transport } = start('x'.repeat(4_000_000))
    await assert.rejects(transport.start(), { code: 'mcp-unreachable', message: 'the program cannot be started: E2BIG' })
    await transport.close()
  })

  it('its last words are heard, whole, however they came', async () => {
    const { transport, heard, closed } = start(`
      const text = '驿站'.repeat(40_000)
      const line = Buffer.from(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/message', params: { text } }) + '\\n')
      process.stdout.write(line.subarray(0, 101))
      process.stderr.write('bye')
      process.stdout.write(line.subarray(101))`)
    await transport.start()
    await closed
    assert.equal((heard[0] as { params: { text: string } }).params.text, '驿站'.repeat(40_000))
    assert.deepEqual([transport.fault?.code, transport.errors], ['mcp-ended', 'bye'])
  })

  it('who reads nothing is not written to for ever', async () => {
    const { transport, closed } = start('setInterval(() => {}, 1000)')
    await transport.start()
    const text = 'x'.repeat(256 * 1024)
    const message = { jsonrpc: '2.0' as const, method: 'notifications/message', params: { text } }
    await assert.rejects(async () => {
      for (let n = 0; n < 100; n++) await transport.send(message)
    })
    await closed
    assert.equal(transport.fault?.code, 'mcp-silent')
  })

  it('what it started ends with it, also when it will not', async () => {
    const child = `process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)`
    const { transport, heard } = start(
      `const c = require('child_process').spawn(process.execPath, ['-e', ${JSON.stringify(child)}], { stdio: 'inherit' });
       console.log(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/message', params: { pids: [process.pid, c.pid] } })); ${child}`,
    )
    await transport.start()
    while (heard.length === 0) await systemClock.sleep(10)
    const { pids } = (heard[0] as { params: { pids: number[] } }).params
    await transport.close()
    while (pids.some(lives)) await systemClock.sleep(10)
  })
})
