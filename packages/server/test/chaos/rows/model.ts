/** The model is silent, breaks off, or asks for what makes no sense; a tool's effect is in doubt. */
import { until } from '../../journeys/posthouse.ts'
import { marksIn } from '../auditor.ts'
import { preloading } from '../preload/edit.ts'
import type { Row } from '../row.ts'
import { answerOf, createWorld } from '../world.ts'

const sickModel: Row = {
  id: 'F37',
  title: 'The model fails in every way',
  injection:
    'no answer, no first token, a stall and a reset half-way, truncated JSON, 429, 500, an error in the stream: with a spare endpoint, and without',
  invariant: 'the spare goes on where the first broke off, no part is said twice; without a spare the person is told',
  bound: 'settled in 30 s, with time-outs of 2 s',
  parts: ['with a spare', 'without'],
  async run({ seed, mutant, part, patience }) {
    const endpoint = (model: string) => ({ api: 'openai', model, first_token_timeout: '2s', idle_timeout: '2s', total_timeout: '20s' })
    const spare = part === 'with a spare'
    await using world = await createWorld({ seed, mutant })
    const { model } = world
    const to = { base_url: `${model.url}/v1` }
    const endpoints = { first: { ...endpoint('first'), ...to }, ...(spare ? { spare: { ...endpoint('spare'), ...to } } : {}) }
    world.reconfigure({ models: { primary: 'first', fallback: spare ? ['spare'] : [], endpoints } })
    await world.start()
    const words = Array.from({ length: 12 }, (_, index) => `word${index}`).join(' ')
    model.reply(({ text, messages }) => {
      const mark = marksIn(messages.map((message) => message.text).join(' ')).at(-1)
      const whole = `m${mark?.number}p1 ${words}`
      const partial = messages.at(-2)?.text ?? ''
      // Asked to go on, it goes on where it was.
      return { text: /cut off/.test(text) && whole.startsWith(partial) ? whole.slice(partial.length) : whole, chunkSize: 8 }
    })
    const failures = [
      { kind: 'no-answer' },
      { kind: 'no-first-token' },
      { kind: 'stall', after: 5 },
      { kind: 'reset', after: 5 },
      { kind: 'truncated-json', after: 5 },
      { kind: 'status', status: 429, retryAfter: 1 },
      { kind: 'status', status: 500 },
      { kind: 'error-event', after: 5 },
      { kind: 'early-end', after: 5 },
    ] as const
    for (const [index, failure] of failures.entries()) {
      // After a failure the endpoint rests, or counts as sick: it must be well before the next.
      await until(async () => {
        const { number } = world.ask({ chat: 1999 })
        await until(() => world.telegram.posted(1999).length >= world.asked.filter(({ chat }) => chat === 1999).length, 'it is answered')
        return model.calls.some(({ question, answer }) => question?.model === 'first' && answer?.includes(`m${number}p1`))
      }, 'the first endpoint is well again')
      model.failNext({ ...failure, model: 'first' })
      world.ask({ chat: 1001 + index })
      await until(() => world.telegram.posted(1001 + index).length > 0, `something is heard after ${failure.kind}`)
    }
    await world.settle(patience ?? 30_000)
    const twice = world.telegram.posted().filter(({ text }) => /(word\d+)\b.*\b\1\b/s.test(text))
    const outcome = await world.outcome([twice.length > 0 && `a part was said twice: ${twice[0]?.text}`])
    const answered = spare && !mutant && outcome.answered < outcome.asked ? [`${outcome.asked - outcome.answered} were not answered`] : []
    return { ...outcome, broken: [...outcome.broken, ...answered] }
  },
}

const madModel: Row = {
  id: 'F38',
  title: 'The model asks for what makes no sense',
  injection: 'ids of calls that repeat, a tool that is not there, arguments of 1 MB and no JSON, calls without an end',
  invariant: 'refused to the model, not to the person; the history stays one that the provider takes',
  bound: 'nine requests for a question; settled in 20 s; no request is refused',
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant })
    const { model } = world
    await world.start()
    const now = { name: 'current_time', arguments: { time_zone: 'UTC' } }
    model.reply((question) => {
      const { tools, messages } = question
      const text = question.text.split('\n').at(-1) ?? ''
      const mark = `m${marksIn(messages.map((message) => message.text).join(' ')).at(-1)?.number}p1`
      const after = messages.some(({ role }) => role === 'tool')
      if (tools.length === 0) return { text: `${mark} enough` }
      if (/endless/.test(text)) return { toolCalls: [now] }
      if (after || !/twins|stranger|flood/.test(text)) return { text: `${mark} done` }
      if (/twins/.test(text))
        return {
          toolCalls: [
            { ...now, id: 'same' },
            { ...now, id: 'same' },
          ],
        }
      if (/stranger/.test(text))
        return {
          toolCalls: [
            { name: 'launch', arguments: {} },
            { name: 'current_time', arguments: '{"time_zone":' },
          ],
        }
      return { toolCalls: [{ ...now, arguments: { time_zone: 'x'.repeat(1_000_000) } }] }
    })
    let before = 0
    for (const wish of ['twins', 'stranger', 'flood', 'endless']) {
      before = model.calls.length
      world.ask({ chat: 1001 + world.asked.length, wish })
      await world.settle(patience ?? 20_000)
    }
    const calls = model.calls.length - before
    for (const { chat } of [...world.asked]) world.ask({ chat })
    await world.settle(patience ?? 20_000)
    const refused = model.calls.filter(({ ended }) => ended?.how === 'refused').length
    return await world.outcome([
      calls !== 9 && `${calls} requests for a question without an end`,
      refused > 0 && `${refused} requests were refused`,
    ])
  },
}

const toolInDoubt: Row = {
  id: 'F39',
  title: 'A crash after the effect of a tool',
  injection: 'the tool kills the process behind its effect; and the process is killed after the result was kept',
  invariant: 'the tool runs once; what is not known is told to the person, and never repeated',
  bound: 'settled in 20 s',
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant })
    const { model, telegram, posthouse } = world
    const env = preloading({}, 'ledger-tool')
    await world.start(env)
    model.reply((question) => {
      const reply = answerOf(question)
      return reply.toolCalls ? { toolCalls: [{ name: 'book', arguments: { what: 'crash' } }] } : reply
    })
    world.ask({ chat: 1001, wish: 'book' })
    await posthouse.exited()
    await world.start(env)
    await world.settle(patience ?? 20_000)
    let holds = true
    model.reply((question) => ({
      ...answerOf(question),
      ...(holds && question.messages.at(-1)?.role === 'tool' ? { firstToken: 60_000 } : {}),
    }))
    world.ask({ chat: 1002, wish: 'book' })
    await model.waitForCall(({ question }) => question?.messages.at(-1)?.role === 'tool' && question.text.startsWith('m2p1'), 15_000)
    await posthouse.kill()
    holds = false
    await world.start(env)
    await world.settle(patience ?? 20_000)
    const doubt = telegram.posted(1001).filter(({ text }) => /was interrupted/.test(text)).length
    const known = telegram.posted(1002).filter(({ text }) => /booked: seat-2/.test(text)).length
    return await world.outcome([
      doubt !== 1 && 'the person is not told of what is in doubt',
      known !== 1 && 'a result that was kept is not used',
    ])
  },
}

export const modelRows: readonly Row[] = [sickModel, madModel, toolInDoubt]
