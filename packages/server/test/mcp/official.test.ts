/** The protocol as its authors wrote it: their server, as a program and over HTTP, of both generations. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createMcpHandler, McpServer as OfficialServer } from '@modelcontextprotocol/server'
import { z } from 'zod'
import { createMcp } from '../../src/mcp/index.ts'
import type { McpServer } from '../../src/ports/mcp.ts'
import { createGuardedFetch } from '../../src/security/index.ts'
import { createTools } from '../../src/tools/index.ts'
import { until } from '../journeys/posthouse.ts'
import { fastClock as clock, memoryStore } from './scene.ts'

const log = { debug() {}, info() {}, warn() {}, error() {} }

async function use(reach: McpServer['reach']) {
  const fetch = createGuardedFetch({ privateAddresses: ['127.0.0.1'] })
  await using mcp = createMcp({ store: memoryStore(), fetch, clock, log, version: '0' })
  await mcp.update([{ id: 'official', reach, timeout: 60_000, startTimeout: 200_000, tools: undefined, idempotent: [] }])
  await until(() => mcp.status[0]?.state === 'ready', 'it serves')
  const tools = createTools([], { clock, log }, () => mcp.tools)
  assert.deepEqual(tools.declarations.map(({ name }) => name).sort(), ['official__add', 'official__sorry'])
  const call = async (name: string, args: object) => {
    const checked = tools.check({ id: 'c', name, arguments: JSON.stringify(args) })
    assert.ok(typeof checked !== 'string', String(checked))
    return await checked.run('id', new AbortController().signal)
  }
  assert.deepEqual(await call('official__add', { a: 2, b: 3 }), { state: 'done', text: '5' })
  assert.deepEqual(await call('official__sorry', {}), { state: 'failed', text: 'Error: sorry' })
  assert.match(String(tools.check({ id: 'c', name: 'official__add', arguments: '{"a":"x","b":1}' })), /a: must be number/)
}

function official() {
  const server = new OfficialServer({ name: 'official', version: '1.0.0' })
  const numbers = z.object({ a: z.number(), b: z.number() })
  server.registerTool('add', { description: 'Adds.', inputSchema: numbers, outputSchema: z.object({ sum: z.number() }) }, ({ a, b }) => ({
    content: [{ type: 'text', text: String(a + b) }],
    structuredContent: { sum: a + b },
  }))
  server.registerTool('sorry', { description: 'Fails.', inputSchema: z.object({}) }, () => ({
    content: [{ type: 'text', text: 'sorry' }],
    isError: true,
  }))
  return server
}

async function served(handler: { fetch(request: Request): Promise<Response> }) {
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const headers = new Headers(request.headers as Record<string, string>)
    const body = chunks.length > 0 ? Buffer.concat(chunks) : null
    const answer = await handler.fetch(
      new Request(`http://${request.headers.host}${request.url}`, { method: request.method ?? 'GET', headers, body }),
    )
    response.writeHead(answer.status, Object.fromEntries(answer.headers))
    if (answer.body) for await (const chunk of answer.body) response.write(chunk)
    response.end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    [Symbol.dispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

describe('the official server', { concurrency: true }, () => {
  it('as a program', () =>
    use({ kind: 'program', command: [process.execPath, join(import.meta.dirname, 'official-program.ts')], env: {}, folder: process.cwd() }))

  for (const legacy of ['stateless', 'reject'] as const)
    it(`over HTTP, the first generation of the protocol: ${legacy}`, async () => {
      using server = await served(createMcpHandler(official, { legacy }))
      await use({ kind: 'http', url: server.url, headers: {} })
    })
})
