/** Servers that offer tools over the Model Context Protocol, as the configuration names them and as an operator sees them. */
import type { Bilingual } from '@posthouse/contract'

/** A server as its owner configured it. */
export interface McpServer {
  readonly id: string
  readonly reach:
    | {
        readonly kind: 'program'
        /** The program and its arguments; never a line for a shell. */
        readonly command: readonly string[]
        /** All that it sees of an environment. */
        readonly env: Readonly<Record<string, string>>
        readonly folder: string
      }
    | { readonly kind: 'http'; readonly url: string; readonly headers: Readonly<Record<string, string>> }
  /** Milliseconds for one call, and until the server has told its tools. */
  readonly timeout: number
  readonly startTimeout: number
  /** The only tools that are used; undefined: all. */
  readonly tools: readonly string[] | undefined
  /** Tools that the owner says may be called twice. */
  readonly idempotent: readonly string[]
}

/** What can be wrong with a server or a tool, with what to do. The codes stand in the log and in `posthouse mcp list`. */
export const mcpProblems = {
  'mcp-unreachable': {
    en: 'The server cannot be reached, or the program cannot be started. Check command or url, and `posthouse mcp test`. It is tried again.',
    zh: '无法连接服务器或启动程序。请检查 command 或 url，并运行 `posthouse mcp test`。将自动重试。',
  },
  'mcp-refused': {
    en: 'The server answers, but refuses us. Check url, headers and env.',
    zh: '服务器有响应，但拒绝访问。请检查 url、headers 与 env。',
  },
  'mcp-ended': {
    en: 'The program ended, or the connection broke. It is started again, each time after a longer pause, of a minute at the most.',
    zh: '程序已退出或连接中断。将再次启动，间隔逐次延长，最长一分钟。',
  },
  'mcp-silent': {
    en: 'The server does not answer in time. It is ended and started again.',
    zh: '服务器未在限时内响应。将结束并重新启动。',
  },
  'mcp-flood': {
    en: 'The server sent more than is allowed. It was ended, and is started again.',
    zh: '服务器发送的内容超过上限，已将其结束并将重新启动。',
  },
  'mcp-garbage': {
    en: 'What the server sends is not this protocol. A program must write its log to the error output.',
    zh: '服务器发送的内容不符合协议。程序的日志应写到标准错误输出。',
  },
  'mcp-tool-changed': {
    en: 'The tool describes itself otherwise than when it was approved. It is not offered to models until `posthouse mcp approve`.',
    zh: '工具的描述与批准时不同。在执行 `posthouse mcp approve` 之前不提供给模型。',
  },
  'mcp-tool-new': {
    en: 'The tool came after the server was first seen. It is not offered to models until `posthouse mcp approve`, or until it is named in tools.',
    zh: '该工具是在首次连接之后才出现的。在执行 `posthouse mcp approve` 或写入 tools 之前不提供给模型。',
  },
  'mcp-tool-refused': {
    en: 'The tool is larger than allowed, or there are too many. Name the tools that are needed in tools.',
    zh: '工具超过大小上限，或工具过多。请在 tools 中写明所需的工具。',
  },
} as const satisfies Readonly<Record<string, Bilingual>>
export type McpProblem = keyof typeof mcpProblems

/** A server as it does. */
export interface McpStatus {
  readonly id: string
  readonly state: 'starting' | 'ready' | 'waiting'
  readonly problem: McpProblem | undefined
  /** Offered to models, and kept from them. */
  readonly offered: readonly string[]
  readonly withheld: readonly { readonly tool: string; readonly problem: McpProblem }[]
}
