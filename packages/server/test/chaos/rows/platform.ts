/** The platform refuses, stumbles, or had a long night. */
import { createTelegramEmulator } from '@posthouse/testkit'
import { until } from '../../journeys/posthouse.ts'
import { marksIn } from '../auditor.ts'
import { filesBelow, memoryOf } from '../machine.ts'
import type { Row } from '../row.ts'
import { createWorld, type World } from '../world.ts'

interface Dead {
  readonly id: string
  readonly kind: string
  readonly reason: string
  readonly text: string
}
const deadLetters = async (world: World) => (await world.admin<{ dead: Dead[] }>('/api/admin/dead?limit=500')).dead

const tooFast: Row = {
  id: 'F34',
  title: '429 with Retry-After',
  injection: 'the platform refuses a send with "retry after 3", and enforces its own limits of 30 a second and 1 a second in a chat',
  invariant: 'the time is waited for, in that chat alone; everybody else is served; nothing is lost',
  bound: 'nothing to that chat for 3 s; others in 2 s; settled in 30 s',
  async run({ seed, mutant, patience }) {
    const floods = { global: { amount: 30, per: 1000 }, chat: { amount: 1, per: 1000 } }
    await using world = await createWorld({ seed, mutant, telegram: { floods } })
    const { telegram } = world
    await world.start()
    telegram.failNext('sendMessage', { status: 429, description: 'Too Many Requests: retry after 3', retryAfter: 3 })
    world.ask({ chat: 1001 })
    await until(() => telegram.ledger.some(({ outcome }) => outcome.code === 429), 'the platform asks to wait')
    const asked = Date.now()
    const others = Array.from({ length: 10 }, (_, n) => world.ask({ chat: 1002 + n }))
    world.ask({ chat: 1001 })
    await until(() => others.every(world.isAnswered), 'others are answered', 10_000)
    const served = Date.now() - asked
    for (let n = 0; n < 60; n++) world.ask({ chat: 1002 + (n % 20) })
    await world.settle(patience ?? 30_000)
    const early = telegram.ledger.filter(
      ({ method, params, at }) => method === 'sendMessage' && Number(params.chat_id) === 1001 && at > asked && at < asked + 2900,
    )
    return await world.outcome([early.length > 0 && 'a send to the chat before its time', served > 2000 && `others waited ${served} ms`])
  },
}

const lostConfirmations: Row = {
  id: 'F35',
  title: 'The platform takes a message and its confirmation is lost',
  injection: 'sends are carried out and the connection is reset; a proxy answers 504; one send is refused for good',
  invariant: 'without a key of the platform: once more at the most, marked. What is refused for good is a dead letter at once',
  bound: 'settled in 20 s; one attempt at what is refused',
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant })
    const { telegram } = world
    await world.start()
    telegram.dropReplyOf('sendmessage', 3)
    for (let chat = 1; chat <= 5; chat++) world.ask({ chat: 1000 + chat })
    await until(() => telegram.ledger.filter(({ outcome }) => outcome.dropped).length === 3, 'three confirmations are lost')
    await world.settle(patience ?? 10_000)
    telegram.failNext('sendMessage', { status: 504, body: '<html>504 Gateway Time-out</html>' })
    world.ask({ chat: 1010 })
    await world.settle(patience ?? 10_000)
    telegram.failNext('sendMessage', { status: 400, description: 'Bad Request: not enough rights to send text messages to the chat' })
    const refused = world.ask({ chat: 1020 })
    await world.settle(patience ?? 10_000)
    const attempts = telegram.ledger.filter(({ method, params }) => method === 'sendMessage' && Number(params.chat_id) === 1020).length
    const letters = (await deadLetters(world)).filter(({ text }) => text.includes(refused.text))
    const outcome = await world.outcome([
      attempts !== 1 && `${attempts} attempts at what is refused for good`,
      letters.length !== 1 && 'what is refused for good is no dead letter',
    ])
    return {
      ...outcome,
      broken: [...outcome.broken, ...(outcome.marked < 3 && !mutant ? [`${outcome.marked} of 3 repeats are marked`] : [])],
    }
  },
}

const noIdentity: Row = {
  id: 'F36',
  title: 'The token is revoked; another program uses it',
  injection: 'every call of one account is answered 401; a second poller takes the place of another account',
  invariant:
    'the operator sees needs-auth and conflict; what waits is kept, and sent when the account is well again; the web chat does not notice',
  bound: 'calls pause for 30 s or more; answered within 90 s of the recovery',
  async run({ seed, mutant, patience }) {
    await using second = await createTelegramEmulator({ token: '987654321:AAE-emulated_token_of_the_testkit_0002' })
    const other = { type: 'telegram', token: second.token, api_root: second.url }
    await using world = await createWorld({ seed, mutant, config: { channels: { other } } })
    const { telegram } = world
    await world.start()
    const stateOf = async (id: string) =>
      (await world.admin<{ channels: { id: string; state: string }[] }>('/api/admin/status')).channels.find((channel) => channel.id === id)
        ?.state
    await until(async () => (await stateOf('telegram')) === 'connected' && (await stateOf('other')) === 'connected', 'both are connected')
    telegram.failNext('*', { status: 401, description: 'Unauthorized', times: 1_000_000 })
    const rival = new AbortController()
    const steal = fetch(`${second.url}/bot${second.token}/getUpdates`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ timeout: 50 }),
      signal: rival.signal,
    }).catch(() => undefined)
    // A poll that stands is ended by what people write.
    world.ask({ chat: 1001 })
    await until(async () => (await stateOf('telegram')) === 'needs-auth', 'the operator sees needs-auth', 60_000)
    await until(async () => (await stateOf('other')) === 'conflict', 'the operator sees a conflict', 60_000)
    const calls = () => telegram.ledger.filter(({ outcome }) => outcome.code === 401).length
    const before = calls()
    await new Promise((resolve) => setTimeout(resolve, 15_000))
    const more = calls() - before
    rival.abort()
    await steal
    telegram.heal()
    await world.settle(patience ?? 90_000)
    await until(async () => (await stateOf('other')) === 'connected', 'the other is connected again', 130_000).catch(() => {})
    return await world.outcome([
      more > 2 && `${more} calls with a refused token within 15 s`,
      (await stateOf('telegram')) !== 'connected' && 'the first account did not come back',
      (await stateOf('other')) !== 'connected' && 'the second account did not come back',
    ])
  },
}

const badFiles: Row = {
  id: 'F41',
  title: 'Files that are slow, too large, gone, or lie about their size',
  injection: 'a download that stalls, one of 60 MB that claims 10 bytes, one that is told to have 60 MB, one that is gone, and a good one',
  invariant: 'the limit holds while it streams; the text is answered with a word on the file; nothing of a broken file stays',
  bound: 'settled in 150 s (the stalled one); memory below 400 MB; no part of a file left on the disk',
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant })
    const { telegram, posthouse } = world
    await world.start()
    const file = (change: object) => ({ document: { name: 'letter.txt', mime: 'text/plain', ...change } })
    world.ask({ chat: 1001, more: file({ bytes: Buffer.from('well') }) })
    world.ask({ chat: 1002, more: file({ size: 60_000_000, claims: 10 }) })
    world.ask({ chat: 1003, more: file({ size: 60_000_000 }) })
    world.ask({ chat: 1005, more: file({ size: 5_000_000, stallsAfter: 1_000_000 }) })
    await world.settle(patience ?? 40_000)
    telegram.failNext('getFile', { status: 400, description: 'Bad Request: wrong file_id or the file is temporarily unavailable' })
    world.ask({ chat: 1004, more: file({ size: 100 }) })
    await world.settle(patience ?? 150_000)
    const told = [1002, 1003, 1004, 1005].filter((chat) => !telegram.posted(chat).some(({ text }) => text.includes('could not be read')))
    const { peak } = memoryOf(posthouse.pid)
    const left = filesBelow(posthouse.folder).filter((path) => path.endsWith('.part'))
    return await world.outcome([
      told.length > 0 && `nothing is said of the file in ${told.join(', ')}`,
      telegram.posted(1001).some(({ text }) => text.includes('could not be read')) && 'a good file was refused',
      peak > 400 && `${Math.round(peak)} MB of memory`,
      left.length > 0 && `left on the disk: ${left.join(', ')}`,
    ])
  },
}

const longNight: Row = {
  id: 'F44',
  title: 'A backlog after an outage of six hours',
  injection:
    '200 messages of six hours ago and 200 of the last minutes wait with the platform; an answer was staged and not sent before the outage',
  invariant:
    'what is older than the freshness of the account is neither answered nor sent by itself, and the operator sees it; the rest is answered in order',
  bound: 'settled in 60 s; at the rate of the account (20 a second); an operator lets one go, and it is answered',
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant, account: { freshness: '10m', send_rate: 20 } })
    const { telegram, model } = world
    // A person's earlier questions stand in the history; only the last one is answered here.
    model.reply(({ text }) => `You said: m${marksIn(text).at(-1)?.number}p1`)
    // Answered while the platform took nothing: it waits in the outbox, and then time goes by.
    await world.start({}, [])
    telegram.failNext('sendMessage', { status: 500, description: 'Internal Server Error', times: 1000 })
    const unsent = world.ask({ chat: 1900 })
    await until(() => telegram.ledger.some(({ outcome }) => outcome.code === 500), 'a send fails')
    await world.posthouse.kill()
    telegram.heal()
    world.reconfigure({ channels: { telegram: { freshness: '1s' } } })
    const hours = 6 * 3_600_000
    const old = Array.from({ length: 200 }, (_, n) => world.ask({ chat: 1001 + (n % 40), more: { at: Date.now() - hours + n * 1000 } }))
    await new Promise((resolve) => setTimeout(resolve, 1500))
    // The outbox is judged by the short freshness, then the people of today by the usual one.
    await world.start()
    await until(
      async () => (await deadLetters(world)).some(({ text }) => text.includes(unsent.text)) || world.isAnswered(unsent),
      'the old answer has its outcome',
      15_000,
    ).catch(() => {})
    await world.posthouse.stop()
    world.reconfigure({ channels: { telegram: { freshness: '10m' } } })
    const recent = Array.from({ length: 200 }, (_, n) => world.ask({ chat: 1001 + (n % 40), more: { at: Date.now() - 120_000 + n * 500 } }))
    const began = Date.now()
    await world.start()
    await until(() => recent.every(world.isAnswered), 'what is fresh is answered', patience ?? 60_000).catch(() => {})
    await world.settle(patience ?? 20_000)
    const byItself = [...old, unsent].filter(world.isAnswered).length
    const dead = (await deadLetters(world)).filter(({ reason }) => reason === 'stale')
    const first = dead.at(0)
    if (first) await world.posthouse.cli('dead', 'retry', first.id)
    const again = world.asked.find(({ text }) => first?.text.includes(text))
    await until(() => again === undefined || world.isAnswered(again), 'what the operator let go is answered', 15_000).catch(() => {})
    const sends = telegram.ledger.filter(({ method, at, outcome }) => method === 'sendMessage' && outcome.code === 200 && at > began)
    const busiest = Math.max(0, ...[...Map.groupBy(sends, ({ at }) => Math.floor(at / 1000)).values()].map(({ length }) => length))
    const outcome = await world.outcome([
      byItself > 0 && `${byItself} stale ones were answered by themselves`,
      dead.length !== 201 && `${dead.length} of 201 stale ones are dead letters`,
      again === undefined || !world.isAnswered(again) ? 'what the operator let go was not answered' : undefined,
      busiest > 42 && `${busiest} sends in a second`,
    ])
    // What an operator lets go comes later than what was asked after it.
    return {
      ...outcome,
      outOfOrder: outcome.outOfOrder.filter((text) => recent.some((asked) => asked.text === text && asked.chat !== again?.chat)),
    }
  },
}

export const platformRows: readonly Row[] = [tooFast, lostConfirmations, noIdentity, badFiles, longNight]
