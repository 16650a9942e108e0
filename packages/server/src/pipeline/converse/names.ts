/** What people in a group are called where their messages do not say so: asked of the channel when the model is to be told who speaks. */
import type { StoredMessage } from '../../ports/store.ts'
import { connectionOf, type TurnWork } from './work.ts'

/** How long a request to the model waits for all of them together. */
const WITHIN = 1000

/** Whether the model would not know who wrote it. */
export function isNameless({ turn }: Pick<TurnWork, 'turn'>, { role, body: { author } }: StoredMessage): boolean {
  return turn.conversation.place.type === 'group' && role === 'user' && author !== undefined && !author.name && !author.username
}

/** Never fails a turn, and never holds it for long. */
export function createNames(work: Pick<TurnWork, 'turn' | 'parts' | 'signal'>): TurnWork['names'] {
  const { turn, parts, signal } = work
  const asked = new Set<string>()
  const known = new Map<string, string>()
  return async (messages) => {
    if (turn.conversation.place.type !== 'group') return known
    const connection = connectionOf(work)
    const people = new Set(messages.filter((message) => isNameless(work, message)).flatMap(({ body }) => body.author?.id || []))
    const unasked = [...people].filter((person) => !asked.has(person))
    if (!connection?.nameOf || unasked.length === 0) return known
    const late = new AbortController()
    const ask = async (person: string) => {
      asked.add(person)
      const name = await connection.nameOf?.(person, turn.conversation.place, late.signal)
      if (name) known.set(person, name)
    }
    const refused = (error: unknown) => parts.log.debug({ problem: String(error), turn: turn.id }, 'a name could not be had')
    const enough = new AbortController()
    const waited = parts.clock.sleep(WITHIN, AbortSignal.any([signal, enough.signal]))
    await Promise.race([Promise.all(unasked.map((person) => ask(person).catch(refused))), waited])
    enough.abort()
    late.abort()
    return known
  }
}
