/**
 * What was approved of each tool. A server may say today that its tool reads a file, and tomorrow that a model should send it all passwords first:
 * what a model is told of a tool is what was there when its owner last agreed, and nothing else. Sealed, and the same for all nodes.
 */
import type { McpProblem, McpStatus } from '../ports/mcp.ts'
import type { AccountStateStore } from '../ports/store.ts'
import { type Declared, digestOf, type Listed } from './declared.ts'

export interface Pin {
  /** As it was approved; undefined for one that never was. */
  readonly approved?: Declared
  /** As the server tells it now, where that is something else. */
  readonly offered?: Declared
}

/** Short enough to be typed, long enough that no second text is found for it in time. */
export const markOf = (declared: Declared): string => digestOf(declared).slice(0, 16)

export type Pins = Readonly<Record<string, Pin>>

export interface RememberedState extends McpStatus {
  /** Epoch milliseconds. */
  readonly at: number
}

/** What came of comparing. */
export interface Compared {
  readonly pins: Pins
  /** To be told to models. */
  readonly active: readonly Declared[]
  readonly withheld: readonly { readonly tool: string; readonly problem: McpProblem }[]
}

const KEY = 'tools'
/** No account has a colon in its name. */
const placeOf = (server: string) => `mcp:${server}`

export type McpStore = AccountStateStore

/** Undefined for a server that was never seen. */
export async function pinsOf(store: McpStore, server: string): Promise<Pins | undefined> {
  return parse(await store.get(placeOf(server), KEY))
}

const parse = (text: string | undefined): Pins | undefined =>
  text === undefined ? undefined : (Object.assign(Object.create(null), JSON.parse(text)) as Pins)

/**
 * Compares what a server tells with what was approved, and writes down what is new. The tools of a server that was never seen are
 * approved as they are; later ones only if the owner names them (`named`).
 */
export async function compareWithPins(
  store: McpStore,
  server: string,
  listed: Listed,
  named: readonly string[] | undefined,
): Promise<Compared> {
  const { withheld, ...compared } = await change(store, server, (pins) => compare(pins, listed, named))
  return { ...compared, withheld: [...withheld, ...listed.refused.map((tool) => ({ tool, problem: 'mcp-tool-refused' as const }))] }
}

function compare(before: Pins | undefined, { tools }: Listed, named: readonly string[] | undefined): Compared {
  // What was never approved and is offered no more is forgotten: a server cannot fill the place with names.
  const pins: Record<string, Pin> = Object.create(null)
  for (const [name, { approved }] of Object.entries(before ?? {})) if (approved) pins[name] = { approved }
  const active: Declared[] = []
  const withheld: Compared['withheld'][number][] = []
  for (const declared of tools) {
    const { name } = declared
    const { approved } = pins[name] ?? {}
    if (approved && digestOf(approved) === digestOf(declared)) {
      pins[name] = { approved }
      active.push(approved)
    } else if (!approved && (before === undefined || named?.includes(name))) {
      pins[name] = { approved: declared }
      active.push(declared)
    } else {
      pins[name] = { ...(approved ? { approved } : {}), offered: declared }
      withheld.push({ tool: name, problem: approved ? 'mcp-tool-changed' : 'mcp-tool-new' })
    }
  }
  return { pins, active, withheld }
}

/**
 * Approves what is offered of these tools, or of all; answers what stood there before. `as`: only if the mark of what is offered is still this one:
 * a server may change its words once more between a look and a yes.
 */
export async function approve(
  store: McpStore,
  server: string,
  tools: readonly string[] | undefined,
  as?: string,
): Promise<readonly (readonly [name: string, pin: Pin])[]> {
  const { approved } = await change(store, server, (before) => {
    const pins: Record<string, Pin> = Object.assign(Object.create(null), before)
    const approved = Object.entries(pins).flatMap(([name, { offered }]) => {
      if (!offered || (tools && !tools.includes(name)) || (as !== undefined && as !== markOf(offered))) return []
      const before = pins[name] ?? {}
      pins[name] = { approved: offered }
      return [[name, before] as const]
    })
    return { pins, approved }
  })
  return approved
}

/** Another node, or a command, may write at the same time: then it is looked at again. */
async function change<T extends { readonly pins: Pins }>(
  store: McpStore,
  server: string,
  decide: (before: Pins | undefined) => T,
): Promise<T> {
  for (;;) {
    const text = await store.get(placeOf(server), KEY)
    const decided = decide(parse(text))
    const next = JSON.stringify(decided.pins)
    if (next === text || (await store.swap(placeOf(server), KEY, text, next))) return decided
  }
}

const STATE = 'state'

export async function rememberState(store: McpStore, status: McpStatus, at: number): Promise<void> {
  await store.set(placeOf(status.id), STATE, JSON.stringify({ ...status, at } satisfies RememberedState))
}

/** How the gateway last found a server; undefined: never. */
export async function stateOf(store: McpStore, server: string): Promise<RememberedState | undefined> {
  const text = await store.get(placeOf(server), STATE)
  return text === undefined ? undefined : (JSON.parse(text) as RememberedState)
}
