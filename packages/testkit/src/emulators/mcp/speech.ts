/** The protocol as a server speaks it, strictly: what does not belong is refused, as a server of the field would. */
import { type McpEntry, type McpFault, type McpScript, type McpTool, usualTools } from './script.ts'

type Json = Record<string, unknown>

export interface Speaker {
  /** Answers a message, and the fault that is to be played with the answer. Undefined: nothing is to be said. */
  hear(message: unknown): Said | undefined
}

export interface Said {
  readonly answer: Json | undefined
  readonly fault: McpFault | undefined
  /** It was the one that opens the conversation. */
  readonly opened: boolean
}

const VERSIONS = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']
const NOT_FOUND = -32_601
const BAD_PARAMS = -32_602
const BAD_REQUEST = -32_600

const isRecord = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** One conversation. `script` is looked at with every message. */
export function createSpeaker(script: () => McpScript, write: (entry: Omit<McpEntry, 'at' | 'pid'>) => void): Speaker {
  let state: 'new' | 'opened' | 'ready' = 'new'
  const refuse = (id: unknown, code: number, message: string): Said => ({
    answer: { jsonrpc: '2.0', id: id ?? null, error: { code, message } },
    fault: undefined,
    opened: false,
  })
  return {
    hear(message) {
      if (!isRecord(message) || message.jsonrpc !== '2.0') return refuse(null, BAD_REQUEST, 'not a message')
      const { id, method } = message
      if (typeof method !== 'string') return undefined
      const params = isRecord(message.params) ? message.params : {}
      if (id === undefined) {
        if (method === 'notifications/initialized' && state === 'opened') state = 'ready'
        return undefined
      }
      const { tools = usualTools, faults = [], pageSize } = script()
      const say = (result: Json, at?: McpFault['at'], tool?: string): Said => ({
        answer: { jsonrpc: '2.0', id, result },
        fault: at && faults.find((fault) => fault.at === at && (fault.tool === undefined || fault.tool === tool)),
        opened: method === 'initialize',
      })
      if (method === 'ping') return say({})
      if (method === 'initialize') {
        if (state !== 'new') return refuse(id, BAD_REQUEST, 'opened already')
        if (typeof params.protocolVersion !== 'string' || !isRecord(params.clientInfo) || !isRecord(params.capabilities))
          return refuse(id, BAD_PARAMS, 'initialize: protocolVersion, clientInfo and capabilities are needed')
        state = 'opened'
        write({ what: 'initialize' })
        const protocolVersion = VERSIONS.includes(params.protocolVersion) ? params.protocolVersion : VERSIONS.at(-1)
        return say(
          { protocolVersion, capabilities: { tools: { listChanged: true } }, serverInfo: { name: 'emulated-mcp', version: '1.0.0' } },
          'initialize',
        )
      }
      if (method !== 'tools/list' && method !== 'tools/call') return refuse(id, NOT_FOUND, `there is no ${method}`)
      if (state !== 'ready') return refuse(id, BAD_REQUEST, 'not initialized')
      if (method === 'tools/list') {
        write({ what: 'list' })
        const from = Number(params.cursor ?? 0)
        const page = tools.slice(from, from + (pageSize ?? tools.length))
        const more = from + page.length < tools.length && page.length > 0
        return say({ tools: page, ...(more ? { nextCursor: String(from + page.length) } : {}) }, 'list')
      }
      const tool = tools.find(({ name }) => name === params.name)
      if (!tool) return refuse(id, BAD_PARAMS, `there is no tool ${String(params.name)}`)
      const given = isRecord(params.arguments) ? params.arguments : {}
      const wrong = problemOf(tool, given)
      if (wrong) return say({ content: [{ type: 'text', text: wrong }], isError: true })
      write({ what: 'call', tool: tool.name, arguments: given })
      return say(resultOf(tool, given), 'call', tool.name)
    },
  }
}

function problemOf({ inputSchema }: McpTool, given: Json): string | undefined {
  const required = (inputSchema.required ?? []) as readonly string[]
  const missing = required.find((name) => !Object.hasOwn(given, name))
  return missing === undefined ? undefined : `${missing}: missing`
}

/** One red dot. */
const PIXEL = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=='

function resultOf({ name }: McpTool, given: Json): Json {
  const text = (words: string) => ({ type: 'text', text: words })
  if (name === 'fail') return { content: [text('there are no seats')], isError: true }
  if (name === 'picture')
    return {
      content: [
        text('Here they are.'),
        { type: 'image', data: PIXEL, mimeType: 'image/png' },
        { type: 'audio', data: PIXEL, mimeType: 'audio/wav' },
        { type: 'resource_link', uri: 'file:///notes.txt', name: 'notes.txt' },
        { type: 'resource', resource: { uri: 'file:///a.txt', text: 'a file' } },
        { type: 'resource', resource: { uri: 'file:///b.bin', blob: PIXEL } },
      ],
    }
  if (name === 'book') return { content: [text(`booked: ${String(given.what)}`)] }
  return { content: [text(String(given.text ?? JSON.stringify(given)))] }
}

/** The answer, spoilt as the fault wants. Undefined: there is none. */
export function spoilt(answer: Json, { kind }: McpFault): Json | string | undefined {
  switch (kind) {
    case 'hang':
      return undefined
    case 'garbage':
      return 'Server started. Listening {'
    case 'wrong-id':
      return { ...answer, id: 987_654 }
    case 'wrong-shape':
      return { jsonrpc: '2.0', id: answer.id, result: { tools: 'all of them', content: 7 } }
    case 'refuse':
      return { jsonrpc: '2.0', id: answer.id, error: { code: -32_603, message: 'out of order' } }
    default:
      return answer
  }
}
