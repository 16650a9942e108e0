// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are pieces of source
/** Broken versions of what stands between nodes, as data: the journeys, or the rows that are named, must notice each. */
import type { Edit } from '../chaos/preload/edit.ts'

const early: readonly Edit[] = [
  {
    file: 'src/pipeline/receive/accept.ts',
    find: 'const recorded = await inbox.record({',
    replace: `const known = (globalThis.lanesKnown ??= new Map())
        const key = laneKey(origin.account, message.place)
        const broker = {
          publish(ticket) {
            if (!known.has(key)) parts.broker.publish(ticket)
            known.set(key, ticket.lane)
          },
        }
        if (known.has(key)) {
          parts.broker.publish({ lane: known.get(key), priority })
          await new Promise((resolve) => setTimeout(resolve, 300))
        }
        const recorded = await inbox.record({`,
  },
]

const sweepless: readonly Edit[] = [
  {
    file: 'src/broker/rabbitmq.ts',
    find: 'const SWEEP_EVERY = 1000',
    replace: 'const SWEEP_EVERY = 3_600_000',
  },
]

export const clusterMutants: readonly { readonly name: string; readonly rows?: readonly string[]; readonly edits: readonly Edit[] }[] = [
  {
    name: 'ticket before commit',
    edits: early,
  },
  {
    name: 'without the sweep',
    rows: ['F20:the ticket'],
    edits: sweepless,
  },
  {
    // The sweep mends what a ticket did too early. Where nothing fails no sweep is needed, and without one it shows.
    name: 'ticket before commit and no sweep',
    rows: ['F32'],
    edits: [...early, ...sweepless],
  },
  {
    name: 'waits behind a lost commit',
    rows: ['F15:killed in a commit'],
    edits: [{ file: 'src/storage/writer.ts', find: 'const BEHIND = 5000', replace: 'const BEHIND = 3_600_000' }],
  },
  {
    name: 'waits for who does not answer',
    rows: ['F20:the ticket'],
    edits: [{ file: 'src/broker/link.ts', find: "stream.destroy(new Error('the broker does not answer'))", replace: 'stream' }],
  },
  {
    name: 'content in the ticket',
    edits: [
      {
        file: 'src/pipeline/receive/accept.ts',
        find: 'broker.publish({ lane: recorded.conversationId, priority })',
        replace: 'broker.publish({ lane: recorded.conversationId, priority, parts: message.parts })',
      },
    ],
  },
  {
    name: 'tickets as they come',
    edits: [
      {
        file: 'src/broker/rabbitmq.ts',
        find: 'function writeTicket({ lane, priority }: Ticket): Buffer {',
        replace: 'function writeTicket({ ...ticket }) { return Buffer.from(JSON.stringify(ticket)); const { lane, priority } = ticket',
      },
    ],
  },
  {
    name: 'frames in plain',
    edits: [
      {
        file: 'src/cluster/shared-live.ts',
        find: 'sealer.seal(text, sealedAt(topic))',
        replace: 'Buffer.from(text)',
      },
    ],
  },
  {
    name: 'rooms in plain',
    edits: [
      {
        file: 'src/cluster/shared-rates.ts',
        find: 'pseudonym(`room ${account} ${room}`)',
        replace: 'room',
      },
    ],
  },
  {
    name: 'keyed without instructions',
    edits: [{ file: 'src/pipeline/converse/known-answers.ts', find: 'endpoint?.digest, system,', replace: 'endpoint?.digest,' }],
  },
  {
    name: 'cache in plain',
    edits: [
      {
        file: 'src/cache/tiers.ts',
        find: 'sealer.seal(JSON.stringify(kept), placeOf(name))',
        replace: 'Buffer.from(JSON.stringify(kept))',
      },
      { file: 'src/cache/tiers.ts', find: 'sealer.open(sealed, placeOf(name))', replace: 'sealed' },
    ],
  },
  {
    name: 'dedupe in Redis only',
    rows: ['F22:emptied'],
    edits: [
      {
        file: 'src/pipeline/receive/accept.ts',
        find: 'const recorded = await inbox.record({\n      account: origin.account,\n      message,',
        replace: `const { Redis } = await import('ioredis')
    const redis = (globalThis.seenKeys ??= new Redis(process.env.MUTANT_REDIS ?? ''))
    if ((await redis.set(\`seen:\${message.key}\`, '1', 'NX')) === null) return done('duplicate', undefined)
    const recorded = await inbox.record({
      account: origin.account,
      message: { ...message, key: \`\${message.key}:\${Math.random()}\` },`,
      },
    ],
  },
  {
    // No fault: what takes half a minute takes a second and a half.
    name: 'hurried nodes',
    edits: [
      {
        file: 'src/cluster/node.ts',
        find: 'const FIGURES = { beat: 10_000, ttl: 30_000, fence: 25_000, look: 2000 }',
        replace: 'const FIGURES = { beat: 300, ttl: 1500, fence: 1200, look: 200 }',
      },
      {
        file: 'src/cluster/leases.ts',
        find: 'const [LOOK, GIVE] = [1000, 2000]',
        replace: 'const [LOOK, GIVE] = [200, 2000]',
      },
    ],
  },
  {
    name: 'stop stays here',
    edits: [
      {
        file: 'src/pipeline/pipeline.ts',
        find: 'for (const [lane, before] of await store.turns.stopped(lanes))',
        replace: 'for (const [lane, before] of [] as [string, number][])',
      },
    ],
  },
  {
    name: 'joined without asking',
    edits: [
      { file: 'src/http/routes/live.ts', find: "if (!turn) live.tell(conversationTopic(id), 'show')", replace: '' },
      {
        file: 'src/http/routes/live.ts',
        find: "if (frame.type !== 'delta' || frame.turn_id === shown) send(frame)",
        replace: 'send(frame)',
      },
    ],
  },
  {
    // No fault: a machine whose clock is wrong.
    name: 'clock ahead',
    edits: [{ file: 'src/base/clock.ts', find: 'now: () => Date.now(),', replace: 'now: () => Date.now() + 600_000,' }],
  },
  {
    name: 'lease by the local clock',
    rows: ['F31:hurried nodes'],
    edits: [
      {
        file: 'src/storage/dialects/postgres.ts',
        find: 'now: sql`(extract(epoch from clock_timestamp()) * 1000)::bigint`',
        replace: 'now: sql`(extract(epoch from clock_timestamp()) * 1000)::bigint + ${sql.lit(Number(process.env.CHAOS_SKEW ?? 600_000))}`',
      },
    ],
  },
  {
    name: 'missing epoch check',
    rows: ['F06:before it keeps an offset'],
    edits: [
      {
        file: 'src/storage/leases.ts',
        find: 'if (!(await first(transaction, ours, { name, node, epoch })))',
        replace: 'if (!(await first(transaction, taken, { name })))',
      },
    ],
  },
  {
    name: 'every node sends',
    edits: [
      {
        file: 'src/storage/outbox.ts',
        find: ".where('conversation_id', '=', p.conversation)\n              .where('settled_at', 'is', null)\n              .as('ahead')",
        replace: ".where(sql`false`).as('ahead')",
      },
      {
        file: 'src/storage/outbox.ts',
        find: ".where('other.node', '!=', p.node),",
        replace: ".where('other.node', '!=', p.node).where(sql`false`),",
      },
    ],
  },
]
