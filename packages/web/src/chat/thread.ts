/**
 * Which messages stand in the thread, and where a message has other versions.
 *
 * A message that was asked again or edited has `replaced_by`; it and all that followed it form an earlier branch. Messages are given a
 * parent each; a parent with several children is a place with versions, where one child is chosen (the latest, if nobody chose).
 */
import type { MessageView } from '@posthouse/contract/http'
import type { OutgoingMessage } from './outgoing.ts'

export type ThreadEntry =
  | { readonly kind: 'message'; readonly key: string; readonly message: MessageView; readonly versions?: Versions }
  | { readonly kind: 'outgoing'; readonly key: string; readonly outgoing: OutgoingMessage; readonly versions?: Versions }

export interface Versions {
  /** The node whose children are the versions: key of the choice. */
  readonly place: string
  readonly ids: readonly string[]
  /** Index of the one shown. */
  readonly shown: number
}

/** Chosen versions: place -> id of the child. */
export type Choices = Readonly<Record<string, string>>

const ROOT = 'start'

interface Node {
  readonly id: string
  readonly parent: string
  readonly message?: MessageView
  readonly outgoing?: OutgoingMessage
}

function growTree(messages: readonly MessageView[], outgoing: readonly OutgoingMessage[]): Map<string, Node[]> {
  const nodes = new Map<string, Node>()
  const children = new Map<string, Node[]>()
  // The earliest message that a message took the place of: they are siblings.
  const replaces = new Map<string, string>()
  for (const message of messages) {
    if (message.replaced_by && !replaces.has(message.replaced_by)) replaces.set(message.replaced_by, message.id)
  }
  let tail = ROOT
  const leafBelow = (id: string) => {
    let leaf = id
    for (let next = children.get(leaf)?.at(-1); next; next = children.get(leaf)?.at(-1)) leaf = next.id
    return leaf
  }
  const isOnPath = (id: string) => {
    for (let at: string | undefined = tail; at; at = nodes.get(at)?.parent) if (at === id) return true
    return false
  }
  const add = (node: Node) => {
    nodes.set(node.id, node)
    const siblings = children.get(node.parent)
    if (siblings) siblings.push(node)
    else children.set(node.parent, [node])
  }
  for (const message of messages) {
    const replaced = nodes.get(replaces.get(message.id) ?? '')
    const question = message.reply_to === undefined ? undefined : nodes.get(message.reply_to)
    if (question && !isOnPath(question.id)) {
      // A late answer (a stopped one, say) to a question that has left the path.
      add({ id: message.id, parent: leafBelow(question.id), message })
    } else {
      add({ id: message.id, parent: replaced?.parent ?? tail, message })
      tail = message.id
    }
  }
  for (const waiting of outgoing) {
    const replaced = nodes.get(waiting.replaces ?? '')
    add({ id: waiting.id, parent: replaced?.parent ?? tail, outgoing: waiting })
    tail = waiting.id
  }
  return children
}

function toEntry(node: Node, versions: Versions | undefined): ThreadEntry {
  const extra = versions ? { versions } : {}
  if (node.outgoing) return { kind: 'outgoing', key: node.id, outgoing: node.outgoing, ...extra }
  const message = node.message as MessageView
  // An own message keeps the key that it had while waiting; an answer keeps the key of its draft.
  const key = message.client_id ?? (message.role !== 'user' && message.reply_to ? draftKey(message.reply_to) : message.id)
  return { kind: 'message', key, message, ...extra }
}

/** Key of the draft and, later, of the answer to a message: the same, so that nothing is drawn anew when the draft becomes the answer. */
export function draftKey(question: string): string {
  return `answer:${question}`
}

/** The entries to show from top to bottom. */
export function threadOf(messages: readonly MessageView[], outgoing: readonly OutgoingMessage[], choices: Choices): readonly ThreadEntry[] {
  const children = growTree(messages, outgoing)
  const entries: ThreadEntry[] = []
  const keys = new Set<string>()
  for (let place = ROOT; ; ) {
    const siblings = children.get(place)
    if (!siblings) return entries
    const chosen = siblings.findIndex((node) => node.id === choices[place])
    const shown = chosen === -1 ? siblings.length - 1 : chosen
    const node = siblings[shown] as Node
    const versions = siblings.length > 1 ? { place, ids: siblings.map((one) => one.id), shown } : undefined
    const entry = toEntry(node, versions)
    entries.push(keys.has(entry.key) ? { ...entry, key: node.id } : entry)
    keys.add(entry.key)
    place = node.id
  }
}

/** Whether the thread as shown ends with the branch that the model sees: only there a draft may stand. */
export function showsLatest(entries: readonly ThreadEntry[]): boolean {
  return entries.every(({ versions }) => !versions || versions.shown === versions.ids.length - 1)
}
