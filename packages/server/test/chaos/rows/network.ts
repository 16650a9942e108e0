/** The line between the platform and the gateway breaks, is slow, or leads nowhere. */
import { createSocket } from 'node:dgram'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { until } from '../../journeys/posthouse.ts'
import type { Row } from '../row.ts'
import { createWorld, SECRET, type World } from '../world.ts'

/** Milliseconds within which this part of the updates was acknowledged. */
export function acknowledgedWithin({ telegram }: Pick<World, 'telegram'>, part: number, since = 0): number {
  const took = telegram.confirmations
    .filter(({ said }) => said >= since)
    .map(({ said, at }) => at - said)
    .toSorted((a, b) => a - b)
  return took[Math.min(took.length - 1, Math.floor(took.length * part))] ?? 0
}

const lostReplies: Row = {
  id: 'F25',
  title: 'A reset in the midst of the reply to a webhook',
  injection:
    'a proxy before the webhook: of every fourth call the reply is dropped with a reset; once the gateway is killed in between; the platform repeats',
  invariant: 'a repeat is acknowledged and changes nothing: one answer for each message',
  bound: 'settled in 30 s',
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant, mode: 'webhook', front: true })
    const { front: proxy } = world
    if (!proxy) throw new Error('nothing stands in front')
    await world.start()
    await until(() => world.telegram.webhook !== undefined, 'the webhook is set')
    for (let n = 0; n < 40; n++) {
      if (n % 4 === 0) proxy.next({ dropReply: true })
      world.ask({ chat: 1001 + Math.floor(world.random() * 12) })
      await new Promise((resolve) => setTimeout(resolve, 30))
      if (n === 20) {
        // Committed, and its acknowledgement is lost: the process dies before the repeat.
        const before = proxy.hit
        proxy.set({ dropReply: true })
        world.ask({ chat: 1020 })
        await until(() => proxy.hit > before, 'a reply is dropped')
        await world.posthouse.kill()
        proxy.set({})
        await world.start()
      }
    }
    await world.settle(patience ?? 30_000)
    return await world.outcome([proxy.hit < 5 && `only ${proxy.hit} replies were dropped`])
  },
}

const slowClients: Row = {
  id: 'F27',
  title: 'Slow and oversized bodies',
  injection: '500 connections that send one byte a second (half of them in the headers, half in the body), and 20 bodies of 100 MB',
  invariant: 'bodies beyond the limit are refused before they are read; slow headers are cut off; everybody else is served',
  bound:
    'acknowledgements of others: 99 of 100 in 1 s; slow headers end in 20 s; less than 8 MB of an oversized body leave the sender, buffers of the kernel included',
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant, mode: 'webhook' })
    await world.start()
    await until(() => world.telegram.webhook !== undefined, 'the webhook is set')
    const port = Number(new URL(world.posthouse.url).port)
    const slow = Array.from({ length: 500 }, (_, index) => drip(port, index % 2 === 0))
    const oversized = Promise.all(Array.from({ length: 20 }, () => pour(port, 100_000_000)))
    const since = Date.now()
    for (let n = 0; n < 100; n++) {
      world.ask({ chat: 1001 + n })
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    await world.settle(patience ?? 30_000)
    const taken = await oversized
    await until(() => slow.every(({ inHeaders, ended }) => !inHeaders || ended()), 'slow headers are cut off', 20_000).catch(() => {})
    const left = slow.filter(({ inHeaders, ended }) => inHeaders && !ended()).length
    for (const { close } of slow) close()
    const p99 = acknowledgedWithin(world, 0.99, since)
    return await world.outcome([
      p99 > 1000 && `one of a hundred acknowledgements took ${p99} ms`,
      left > 0 && `${left} slow headers were still open`,
      Math.max(...taken) > 8_000_000 && `${Math.max(...taken)} bytes of an oversized body were taken`,
    ])
  },
}

/** A client that sends a byte a second. */
function drip(port: number, inHeaders: boolean) {
  const socket = connect(port, '127.0.0.1')
  let ended = false
  socket
    .on('error', () => {})
    .on('close', () => {
      ended = true
      clearInterval(timer)
    })
  socket.write(`POST /api/webhook/telegram HTTP/1.1\r\nhost: 127.0.0.1\r\nx-telegram-bot-api-secret-token: ${SECRET}\r\n`)
  socket.write(inHeaders ? 'x-slow: ' : 'content-type: application/json\r\ncontent-length: 100000\r\n\r\n')
  const timer = setInterval(() => socket.write('x'), 1000)
  return { inHeaders, ended: () => ended, close: () => socket.destroy() }
}

/** Sends so many bytes as fast as they are taken; answers how many were, until it was cut off or answered. */
function pour(port: number, size: number): Promise<number> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const block = Buffer.alloc(65_536, 'x')
    let sent = 0
    const end = () => {
      resolve(socket.bytesWritten)
      socket.destroy()
    }
    const push = () => {
      while (sent < size && !socket.destroyed) {
        sent += block.length
        if (!socket.write(block)) return void socket.once('drain', push)
      }
    }
    socket.on('error', end).on('close', end).on('data', end)
    socket.write(
      `POST /api/webhook/telegram HTTP/1.1\r\nhost: 127.0.0.1\r\nx-telegram-bot-api-secret-token: ${SECRET}\r\ncontent-type: application/json\r\ncontent-length: ${size}\r\n\r\n`,
    )
    push()
  })
}

/** A network without answers of names: nothing reads what comes to this address. */
const DEAF_RESOLVER = '127.0.0.153'

const noNames: Row = {
  id: 'F28',
  title: 'Names are not resolved, or hang',
  injection:
    'three more accounts and a spare model whose names a resolver never answers; the process sees its own /etc/resolv.conf. The first account has an address',
  invariant: 'only what needs the names is degraded; everybody else is served, files too',
  bound: 'settled in 20 s; 99 of 100 acknowledgements in 1 s; the accounts are not green',
  needs: ['mounts'],
  async run({ seed, mutant, patience }) {
    // More than the threads that node resolves names and reads files with.
    const gone = Array.from({ length: 6 }, (_, n) => [
      `gone-${n}`,
      { type: 'telegram', token: `${n}:gone`, api_root: 'http://api.gone.example' },
    ])
    await using world = await createWorld({ seed, mutant, mode: 'webhook', config: { channels: Object.fromEntries(gone) } })
    const resolver = createSocket('udp4').bind(53, DEAF_RESOLVER)
    await new Promise((resolve) => resolver.once('listening', resolve))
    try {
      const conf = join(world.posthouse.folder, 'resolv.conf')
      writeFileSync(conf, `nameserver ${DEAF_RESOLVER}\noptions timeout:5 attempts:3\n`)
      const inOwnWorld = ['unshare', '-m', 'sh', '-c', `mount --bind ${conf} /etc/resolv.conf && exec "$@"`, 'sh']
      await world.start({}, inOwnWorld)
      await until(() => world.telegram.webhook !== undefined, 'the webhook is set')
      const since = Date.now()
      const document = { name: 'letter.txt', mime: 'text/plain', bytes: Buffer.alloc(300_000, 'a') }
      for (let n = 0; n < 100; n++) {
        world.ask({ chat: 1001 + n, ...(n % 10 === 0 ? { more: { document } } : {}) })
        await new Promise((resolve) => setTimeout(resolve, 30))
      }
      await world.settle(patience ?? 20_000)
      const { channels } = await world.admin<{ channels: { id: string; state: string }[] }>('/api/admin/status')
      const green = channels.filter(({ id, state }) => id.startsWith('gone') && state === 'connected')
      const p99 = acknowledgedWithin(world, 0.99, since)
      return await world.outcome([
        green.length > 0 && 'an account that reaches nobody is green',
        channels.find(({ id }) => id === 'telegram')?.state !== 'connected' && 'the account with an address is not green',
        p99 > 1000 && `one of a hundred acknowledgements took ${p99} ms`,
      ])
    } finally {
      resolver.close()
    }
  },
}

const repeats: Row = {
  id: 'F32',
  title: 'The same webhook five times at once',
  injection: 'each update is posted five times in the same moment',
  invariant: 'five times 200, one answer',
  bound: 'settled in 15 s',
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant, mode: 'webhook' })
    const { telegram, posthouse } = world
    await world.start()
    await until(() => telegram.webhook !== undefined, 'the webhook is set')
    const statuses: number[] = []
    for (let n = 0; n < 8; n++) {
      // The platform pushes it once by itself.
      const { said } = world.ask({ chat: 1001 + n })
      const headers = { 'content-type': 'application/json', 'x-telegram-bot-api-secret-token': SECRET }
      const more = Array.from({ length: 4 }, () =>
        fetch(`${posthouse.url}/api/webhook/telegram`, { method: 'POST', headers, body: JSON.stringify(said) }),
      )
      statuses.push(...(await Promise.all(more)).map(({ status }) => status))
    }
    await world.settle(patience ?? 15_000)
    const refused = statuses.filter((status) => status !== 200).length
    return await world.outcome([refused > 0 && `${refused} of ${statuses.length} were not answered with 200`])
  },
}

const outOfOrder: Row = {
  id: 'F33',
  title: 'Edits out of order, an album as many events',
  injection: 'an edit that comes before its message, one that comes after the answer, three photos of one album, repeats of all',
  invariant: 'an edit asks for no second answer; each photo is read; one conversation, nothing twice',
  bound: 'settled in 20 s',
  async run({ seed, mutant, patience }) {
    await using world = await createWorld({ seed, mutant, config: { assistant: { burst: 'coalesce' } } })
    const { telegram } = world
    await world.start()
    const { said, text } = world.ask({ chat: 1001 })
    telegram.edit(said, { text: `${text} indeed` })
    // The first message of a chat has the number 1: it is edited before it is said.
    const from = { ...said.message, message_id: 1, chat: { ...said.message.chat, id: 1002 }, from: { ...said.message.from, id: 1002 } }
    telegram.edit({ message: from as typeof said.message }, { text: 'changed before it was said' })
    world.ask({ chat: 1002 })
    const bytes = Buffer.alloc(2000, 1)
    for (let n = 0; n < 3; n++) world.ask({ chat: 1003, more: { photo: { bytes }, album: 'album-1' } })
    await world.settle(patience ?? 20_000)
    for (const { update_id } of [...telegram.confirmations]) telegram.redeliver(update_id)
    telegram.edit(said, { text: `${text} after all` })
    await world.settle(5000)
    const fetched = telegram.ledger.filter(({ method }) => method === 'getFile').length
    const said1 = telegram.posted(1001).length
    return await world.outcome([
      fetched !== 3 && `${fetched} of 3 photos were fetched`,
      said1 !== 1 && `${said1} answers to an edited message`,
    ])
  },
}

export const networkRows: readonly Row[] = [lostReplies, slowClients, noNames, repeats, outOfOrder]
