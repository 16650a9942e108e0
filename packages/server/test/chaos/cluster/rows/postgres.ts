/** Rows about the database that the nodes share: killed, full, locked, crowded, in their way. */
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { createFaultProxy } from '@posthouse/testkit'
import pg from 'pg'
import { ask, newDatabase } from '../../../contracts/postgres-server.ts'
import { createPostgres, type PrivatePostgres } from '../../../contracts/private-postgres.ts'
import { until } from '../../../journeys/posthouse.ts'
import type { Row } from '../../row.ts'
import { keepAsking, noneReady, pause, post, postAll, servesAgain, wrongRefusals } from '../probes.ts'
import { type Cluster, createCluster } from '../world.ts'

/** P10: the database is back. */
const BACK = 10_000
/** What may pass until a refusal, in milliseconds: the longest that the server may take for an answer. */
const REFUSED_WITHIN = 15_000

const someAnswered = (world: Cluster) => until(() => world.telegram.posted().length > 20, 'people are answered', 20_000)
const answers = (url: string) =>
  ask(url, 'select 1').then(
    () => true,
    () => false,
  )

const gone: Row = {
  id: 'F15',
  title: 'PostgreSQL ends without a word',
  injection:
    'pg_ctl stop -m immediate, or kill -9, under 25 messages a second to two nodes, also just when the confirmation of a commit of each node was lost; it is started again after some 5 s',
  invariant:
    'while it is away every post is refused with 503 and Retry-After, and nothing is acknowledged; then each message has its one answer',
  bound: 'both nodes serve again 10 s after it takes connections, settled in 60 s',
  parts: ['stopped', 'killed', 'killed in a commit'],
  seeds: 2,
  needs: ['postgres'],
  async run({ seed, mutant, part, patience = 60_000 }) {
    using database = createPostgres()
    await using lines = new AsyncDisposableStack()
    const proxies = { a: lines.use(await createFaultProxy(database.url)), b: lines.use(await createFaultProxy(database.url)) }
    const through = (node: string) => database.url.replace(/:\d+\//, `:${proxies[node as 'a' | 'b'].port}/`)
    await using world = await createCluster({ seed, mutant, patience, mode: 'webhook', database: through, bound: BACK })
    await world.start()
    using asking = keepAsking(world)
    await someAnswered(world)
    if (part === 'killed in a commit') {
      for (const proxy of Object.values(proxies)) proxy.set({ drop: (piece) => piece.includes('COMMIT\0') })
      await until(() => Object.values(proxies).every(({ hit }) => hit > 0), 'a confirmation of each node is lost')
      for (const proxy of Object.values(proxies)) proxy.set({})
    }
    if (part === 'stopped') database.stop()
    else database.kill()
    await until(() => noneReady(world), 'no node is ready')
    const before = world.telegram.confirmations.length
    const said = await postAll(world, 5000)
    const acknowledged = world.telegram.confirmations.length - before
    database.start()
    const back = performance.now()
    world.recovered(await servesAgain(world, back))
    await pause(1000)
    asking.end()
    await world.settle(patience)
    return await world.outcome(
      [...wrongRefusals(said, REFUSED_WITHIN), acknowledged > 0 && `${acknowledged} were acknowledged while it was away`],
      `${said.length} posts refused`,
    )
  },
}

/** Writes the place full to the last byte; answers how to take that away again. */
const fill = (place: string) => void spawnSync('sh', ['-c', `dd if=/dev/zero bs=4096 >> '${join(place, 'ballast')}' 2>/dev/null`])

const full: Row = {
  id: 'F16',
  title: "PostgreSQL's disk is full",
  injection:
    'its data, or its write-ahead log, lie on a small tmpfs that another file fills to the last byte while people ask; then that file goes away, and a server that had ended is started again',
  invariant: 'what cannot be kept is refused with 503; what was acknowledged is answered once; the nodes go on by themselves',
  bound: 'both nodes serve again 10 s after there is room, settled in 60 s',
  parts: ['the data', 'the log'],
  needs: ['postgres', 'root', 'mounts'],
  async run({ seed, mutant, part, patience = 60_000 }) {
    let place = ''
    // Segments of the log are made anew, never taken again, so that it needs room.
    using database = createPostgres(part === 'the log' ? ['wal_recycle=off', 'max_wal_size=4MB', 'min_wal_size=2MB'] : [], {
      prepare({ data, log }, { uid, gid }) {
        place = part === 'the log' ? log : data
        const options = `size=${part === 'the log' ? '24m' : '96m'},mode=700,uid=${uid},gid=${gid}`
        if (spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', place]).status !== 0) throw new Error('tmpfs could not be mounted')
        return { [Symbol.dispose]: () => void spawnSync('umount', ['-l', place]) }
      },
    })
    await using world = await createCluster({ seed, mutant, patience, mode: 'webhook', database: database.url, bound: BACK })
    await world.start()
    using asking = keepAsking(world, { chats: 200, wish: 'and more '.repeat(300) })
    await someAnswered(world)
    // What is there has room for some more: it is full when nothing new is taken.
    await until(
      async () => {
        fill(place)
        const said = await Promise.all(world.nodes.map(({ name }) => post(world, name)))
        return said.every(({ status }) => status === 503)
      },
      'nothing new is taken',
      60_000,
    )
    const alive = await answers(database.url)
    const said = await postAll(world, 4000)
    rmSync(join(place, 'ballast'))
    if (!(await answers(database.url))) startAgain(database)
    world.recovered(await servesAgain(world, performance.now()))
    asking.end()
    await world.settle(patience)
    // A short one may still have found room.
    const refused = said.filter(({ status }) => status !== 200)
    return await world.outcome(
      wrongRefusals(refused, REFUSED_WITHIN),
      `${refused.length} of ${said.length} posts refused, the server ${alive ? 'went on' : 'ended'}`,
    )
  },
}

/** As a supervisor does. What is left of the one before may hold it up for a moment. */
function startAgain(database: PrivatePostgres): void {
  for (let tries = 1; ; tries++) {
    try {
      database.start()
      return
    } catch (error) {
      if (tries === 5) throw error
    }
  }
}

/** What others do to the database of a cluster, until disposed. */
interface Trouble extends AsyncDisposable {
  /** Whether every post is refused meanwhile; else some, or all, go through. */
  readonly refuses: boolean
  /** For so many milliseconds. */
  readonly lasts: number
  /** What it came to, in words; nothing as long as it did not come about. */
  figures(): Promise<string | undefined>
}

async function connectTo(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  return client
}

const troubles: Readonly<Record<string, (url: string) => Promise<Trouble>>> = {
  async 'a table is locked'(url) {
    const client = await connectTo(url)
    await client.query('begin; lock table inbox in access exclusive mode')
    return {
      refuses: true,
      lasts: 30_000,
      figures: async () => 'locked for 30 s',
      [Symbol.asyncDispose]: () => client.end(),
    }
  },
  async 'others have every connection'(url) {
    const others: pg.Client[] = []
    const own = `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'posthouse %'`
    const timer = setInterval(() => void others[0]?.query(own).catch(() => {}), 20)
    // A place that gets free is another's at once.
    const take = () =>
      connectTo(url).then(
        (client) => others.push(client),
        () => {},
      )
    const taking = setInterval(() => void take(), 2)
    await take()
    await until(async () => (await ask(url, 'select 1').catch(() => [])).length === 0, 'no connection is left')
    return {
      refuses: true,
      lasts: 8000,
      figures: async () => `${others.length} connections of others`,
      async [Symbol.asyncDispose]() {
        clearInterval(timer)
        clearInterval(taking)
        await Promise.all(others.map((client) => client.end()))
      },
    }
  },
  async deadlocks(url) {
    const watch = await connectTo(url)
    await watch.query(`alter database ${new URL(url).pathname.slice(1)} set deadlock_timeout = '15ms'`)
    let ended = false
    // Among those that are talked in most lately: there the nodes are, too.
    const lock = `select 1 from conversations where id =
      (select id from (select id from conversations order by updated_at desc limit 6) busy order by random() limit 1) for update; select pg_sleep(0.02)`
    const rogue = async () => {
      const client = await connectTo(url)
      while (!ended) {
        const steps = ['begin', lock, lock, lock]
        for (const step of steps) await client.query(step).catch(() => {})
        await client.query('rollback').catch(() => {})
      }
      await client.end()
    }
    const rogues = [rogue(), rogue(), rogue()]
    return {
      refuses: false,
      lasts: 3000,
      async figures() {
        const [found] = await ask(url, 'select deadlocks::int as count from pg_stat_database where datname = current_database()')
        return Number(found?.count) > 0 ? `${found?.count} deadlocks` : undefined
      },
      async [Symbol.asyncDispose]() {
        ended = true
        await Promise.all(rogues)
        await watch.end()
      },
    }
  },
  async 'serialization failures'(url) {
    const client = await connectTo(url)
    await client.query(`create sequence storms;
      create function storm() returns trigger language plpgsql as $$ begin
        if random() < 0.3 then perform nextval('storms'); raise exception 'could not serialize access' using errcode = '40001'; end if;
        return new; end $$;
      create trigger storm before insert on inbox for each row execute function storm();
      create trigger storm before insert or update on outbox for each row execute function storm()`)
    return {
      refuses: false,
      lasts: 2000,
      async figures() {
        const [found] = await ask(url, 'select last_value::int as count, is_called from storms')
        return found?.is_called ? `${found.count} serialization failures` : undefined
      },
      async [Symbol.asyncDispose]() {
        await client.query('drop trigger storm on inbox; drop trigger storm on outbox')
        await client.end()
      },
    }
  },
}

const inTheWay: Row = {
  id: 'F18',
  title: 'Others are in the way in the database',
  injection:
    'under 25 messages a second: another session locks the inbox for 30 s; others take every connection of the server, those of the nodes too; three sessions lock conversations crosswise; or three of ten inserts fail with 40001',
  invariant:
    'nobody waits without end: what cannot be kept is refused with 503 and Retry-After, conflicts are tried again; then each message has its one answer',
  bound: 'refused in 15 s; both nodes serve again 10 s after it is over, settled in 60 s',
  parts: Object.keys(troubles),
  needs: ['postgres'],
  async run({ seed, mutant, part, patience = 60_000 }) {
    await using parts = new AsyncDisposableStack()
    const begin = troubles[part]
    if (!begin) throw new Error(`there is no such part: ${part}`)
    // Connections are counted by the server.
    const { url } =
      part === 'others have every connection' ? parts.use(createPostgres(['max_connections=30'])) : parts.use(await newDatabase())
    const world = parts.use(await createCluster({ seed, mutant, patience, mode: 'webhook', database: url, bound: BACK }))
    await world.start()
    using asking = keepAsking(world)
    await someAnswered(world)
    const trouble = await begin(url)
    const said = await (async () => {
      await using _ = trouble
      const answered = await postAll(world, trouble.lasts)
      await until(async () => (await trouble.figures()) !== undefined, 'it comes about', 20_000)
      return answered
    })()
    world.recovered(await servesAgain(world, performance.now()))
    const figures = await trouble.figures()
    asking.end()
    await world.settle(patience)
    const refused = said.filter(({ status }) => status !== 200)
    const slowest = Math.max(...said.map(({ took }) => took))
    return await world.outcome(
      [
        ...(trouble.refuses || refused.length > 0 ? wrongRefusals(trouble.refuses ? said : refused, REFUSED_WITHIN) : []),
        slowest > REFUSED_WITHIN && `a post waited for ${Math.round(slowest)} ms`,
      ],
      `${figures}, ${refused.length} of ${said.length} posts refused, each answered in ${(slowest / 1000).toFixed(1)} s`,
    )
  },
}

export const postgresRows: readonly Row[] = [gone, full, inTheWay]
