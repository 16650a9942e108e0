/** A server of tools is somebody else's program: it hangs, ends, floods and talks nonsense. */
import { createMcpProgram, type McpServerFault, type ModelQuestion, type ModelReply } from '@posthouse/testkit'
import { until } from '../../journeys/posthouse.ts'
import { marksIn } from '../auditor.ts'
import { memoryOf } from '../machine.ts'
import type { Row } from '../row.ts'
import { createWorld } from '../world.ts'

const kinds: Readonly<Record<string, readonly McpServerFault['kind'][]>> = {
  hang: ['hang'],
  exit: ['exit'],
  flood: ['flood-line', 'flood-messages', 'flood-errors'],
  garbage: ['garbage', 'wrong-id', 'wrong-shape'],
}
/** MB of memory, above what it was before; milliseconds for those who need no tool; starts while it fails; milliseconds until it is back. */
const MOST_GROWN = 200
const MOST_WAIT = 5000
const MOST_STARTS = 9
const BACK_WITHIN = 30_000
/** How long it fails: one that hangs is taken for dead only when it shows no sign of life, and has to fail at its start, too. */
const UNTIL_WELL = 6000
const UNTIL_HUNG = 14_000

/** Asks for the tool that a question names, and says what it said. */
function replyOf({ text, messages }: ModelQuestion): ModelReply {
  const number = marksIn(messages.map((message) => message.text).join(' ')).at(-1)?.number
  const results = messages.filter(({ role }) => role === 'tool')
  if (results.length > 0) return { text: `m${number}p1 It says: ${results.map((result) => result.text.slice(0, 200)).join(' | ')}` }
  if (/\bseat\b/.test(text)) return { toolCalls: [{ name: 'fake__book', arguments: { what: `seat-${number}` } }] }
  if (/\bparrot\b/.test(text)) return { toolCalls: [{ name: 'fake__echo', arguments: { text: `parrot-${number}` } }] }
  return { text: `m${number}p1 Good day.` }
}

const sickTools: Row = {
  id: 'F40',
  title: 'A server of tools that hangs, ends, floods or talks nonsense',
  injection:
    'an MCP server as a program, in the midst of calls and then at each start: no answer, an end, a line or messages or errors without an end, no JSON, wrong ids and shapes',
  invariant:
    'the model and the person are told; a call that cannot be taken back is made once; whoever needs no tool notices nothing; the server serves again',
  bound:
    'others answered in 5 s; less than 200 MB more memory; at most nine starts in a failure; back in 30 s after it; no program left behind',
  parts: Object.keys(kinds),
  async run({ seed, mutant, part, patience }) {
    using program = createMcpProgram()
    const mcp = { fake: { command: program.command, env: program.env, timeout: '2s', start_timeout: '3s', idempotent: ['echo'] } }
    await using world = await createWorld({ seed, mutant, config: { mcp } })
    const { posthouse, model } = world
    await world.start()
    model.reply(replyOf)
    await until(() => posthouse.log.some((line) => line.includes('a server of tools is connected')), 'the server is connected')
    for (let n = 0; n < 4; n++) world.ask({ chat: 1001 + n, wish: n % 2 === 0 ? 'seat' : 'parrot' })
    await until(() => world.asked.every(world.isAnswered), 'all is well before')
    const before = memoryOf(posthouse.pid).now
    const broken: string[] = []
    let starts = 0
    let slowest = 0
    let back = 0
    const booked = () => program.ledger.flatMap(({ tool, arguments: given }) => (tool === 'book' ? [String(given?.what)] : []))

    for (const kind of kinds[part] ?? []) {
      const startsBefore = program.ledger.filter(({ what }) => what === 'start').length
      program.play({ faults: [{ at: 'call', kind }] })
      const people = Array.from({ length: 6 }, (_, n) => 1100 + n)
      for (const chat of people) world.ask({ chat, wish: chat % 2 === 0 ? 'seat' : 'parrot' })
      // The second half: it fails at the start, too.
      const began = performance.now()
      let asked = 0
      while (performance.now() - began < (kind === 'hang' ? UNTIL_HUNG : UNTIL_WELL)) {
        if (performance.now() - began > 2500)
          program.play({
            faults: [
              { at: 'call', kind },
              { at: 'initialize', kind },
            ],
          })
        const other = world.ask({ chat: 1200 + (asked++ % 5) })
        const said = performance.now()
        await until(() => world.isAnswered(other), 'others are answered', MOST_WAIT).catch(() =>
          broken.push(`${other.text} waited for longer than ${MOST_WAIT} ms`),
        )
        slowest = Math.max(slowest, performance.now() - said)
        if (asked % 4 === 0) world.ask({ chat: 1300 + Math.floor(world.random() * 4), wish: 'seat' })
        await new Promise((resolve) => setTimeout(resolve, 100 + world.random() * 200))
      }
      starts = Math.max(starts, program.ledger.filter(({ what }) => what === 'start').length - startsBefore)
      program.heal()
      const healed = performance.now()
      await until(
        async () => {
          const { number } = world.ask({ chat: 1400, wish: 'seat' })
          await until(() => world.asked.filter(({ chat }) => chat === 1400).every(world.isAnswered), 'it is answered')
          return booked().includes(`seat-${number}`)
        },
        `it serves again after ${kind}`,
        BACK_WITHIN,
      ).catch((error: Error) => broken.push(error.message))
      back = Math.max(back, performance.now() - healed)
    }
    await world.settle(patience ?? 30_000)
    const grown = memoryOf(posthouse.pid).peak - before
    const twice = [...Map.groupBy(booked(), (what) => what)].filter(([, runs]) => runs.length > 1).map(([what]) => what)
    const mega = (amount: number) => `${Math.round(amount)} MB`
    const outcome = await world.outcome(
      [
        ...broken,
        twice.length > 0 && `run again: ${twice.join(', ')}`,
        grown > MOST_GROWN && `the memory grew by ${mega(grown)}`,
        starts === 0 && 'it never failed at its start',
        starts > MOST_STARTS && `${starts} starts in a failure`,
      ],
      `others answered in ${Math.round(slowest)} ms; ${mega(grown)} more memory; ${starts} starts; back after ${(back / 1000).toFixed(1)} s`,
    )
    const pids = [...new Set(program.ledger.map(({ pid }) => pid))]
    await posthouse.stop()
    const left = pids.filter((pid) => {
      try {
        return process.kill(pid, 0)
      } catch {
        return false
      }
    })
    return { ...outcome, broken: [...outcome.broken, ...(left.length > 0 ? [`${left.length} programs were left behind`] : [])] }
  },
}

export const toolRows: readonly Row[] = [sickTools]
