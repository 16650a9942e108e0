/**
 * Tool calls: the intent is committed before a tool runs, what came of it after (P5). A call carries the messages it was made for as a range of
 * a lane, so that a later turn for any of them finds it; whose it is stands in `turn_id`, and who lost the turn writes no more (P7).
 */
import type { Clock } from '../base/clock.ts'
import type { Sealer } from '../ports/sealer.ts'
import { StaleTurn, type StoredToolCall, type ToolCallState, type ToolCallStore, type Turn, toolCallSteps } from '../ports/store.ts'
import type { Database, Dialect } from './dialects/dialect.ts'
import { first, prepare, type Transaction } from './query.ts'
import { is, leadsTo } from './steps.ts'

/** What is sealed of a call: both may hold what people said. */
interface Sealed {
  readonly callId: string
  readonly arguments: string
}

export function createToolCalls(
  { builder, hold }: Dialect,
  database: Database,
  sealer: Sealer,
  { clock }: { clock: Clock },
): ToolCallStore {
  const running = prepare<{ lane: string; turn: string }>()((p) =>
    hold(builder.selectFrom('conversations').select('id').where('id', '=', p.lane).where('turn_id', '=', p.turn)),
  )
  const insert = prepare<{
    id: string
    turn: string
    lane: string
    from: number
    upTo: number
    step: number
    name: string
    call: Uint8Array
    at: number
  }>()((p) =>
    builder.insertInto('tool_calls').values({
      id: p.id,
      turn_id: p.turn,
      conversation_id: p.lane,
      first_message: p.from,
      last_message: p.upTo,
      step: p.step,
      name: p.name,
      call: p.call,
      state: is('intended'),
      result: null,
      intended_at: p.at,
      settled_at: null,
    }),
  )
  const ofMessages = prepare<{ lane: string; from: number; upTo: number }>()((p) =>
    builder
      .selectFrom('tool_calls')
      .selectAll()
      .where('conversation_id', '=', p.lane)
      .where('first_message', '<=', p.upTo)
      .where('last_message', '>=', p.from)
      .orderBy('seq'),
  )
  const take = prepare<{ id: string; turn: string }>()((p) =>
    builder.updateTable('tool_calls').set({ turn_id: p.turn }).where('id', '=', p.id),
  )
  const settle = Object.fromEntries(
    (['done', 'failed', 'unknown'] as const).map((state) => [
      state,
      prepare<{ id: string; turn: string; result: Uint8Array | null; at: number }>()((p) =>
        builder
          .updateTable('tool_calls')
          .set({ state: is<ToolCallState>(state), result: p.result, settled_at: p.at })
          .where('id', '=', p.id)
          .where('turn_id', '=', p.turn)
          .where(leadsTo(toolCallSteps, state)),
      ),
    ]),
  )
  const rangeOf = ({ conversation, messages }: Turn) => {
    const places = messages.map(({ seq }) => seq)
    return { lane: conversation.id, from: Math.min(...places), upTo: Math.max(...places) }
  }
  const seal = (id: string, column: 'call' | 'result', text: string) => sealer.seal(text, `tool_calls.${column}|${id}`)
  const open = (id: string, column: 'call' | 'result', bytes: Uint8Array) => sealer.open(bytes, `tool_calls.${column}|${id}`).toString()

  async function demandOurs(transaction: Transaction, { id, conversation }: Turn): Promise<void> {
    if (!(await first(transaction, running, { lane: conversation.id, turn: id }))) throw new StaleTurn(`turn ${id} is not running any more`)
  }

  async function end(transaction: Transaction, turn: Turn, id: string, state: keyof typeof settle, result: string): Promise<void> {
    const query = settle[state]
    const changed = query ? await transaction.run(query, { id, turn: turn.id, result: seal(id, 'result', result), at: clock.now() }) : 0
    if (changed !== 1) throw new StaleTurn(`the tool call ${id} is no longer turn ${turn.id}'s`)
  }

  return {
    takeOver: (turn, repeatable, lost) =>
      database.write(async (transaction) => {
        const calls: StoredToolCall[] = []
        const rows = await transaction.all(ofMessages, rangeOf(turn))
        if (rows.length > 0) await demandOurs(transaction, turn)
        for (const row of rows) {
          await transaction.run(take, { id: row.id, turn: turn.id })
          const unknown = row.state === 'intended' && !repeatable(row.name)
          if (unknown) await end(transaction, turn, row.id, 'unknown', lost)
          const { callId, arguments: text } = JSON.parse(open(row.id, 'call', row.call)) as Sealed
          calls.push({
            id: row.id,
            step: row.step,
            callId,
            name: row.name,
            arguments: text,
            state: unknown ? 'unknown' : row.state,
            result: unknown ? lost : row.result ? open(row.id, 'result', row.result) : undefined,
          })
        }
        return calls
      }, turn.conversation.id),

    intend: (turn, { id, step, callId, name, arguments: text }) =>
      database.write(async (transaction) => {
        await demandOurs(transaction, turn)
        const call = seal(id, 'call', JSON.stringify({ callId, arguments: text } satisfies Sealed))
        await transaction.insert(insert, { id, turn: turn.id, ...rangeOf(turn), step, name, call, at: clock.now() })
      }, turn.conversation.id),

    settle: (turn, id, state, result) => database.write((transaction) => end(transaction, turn, id, state, result), turn.conversation.id),
  }
}
