/** A PostgreSQL for tests: the one that POSTHOUSE_TEST_POSTGRES names, the one at the usual local address, or one of our own. */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { createPostgres, noServer, type PrivatePostgres } from './private-postgres.ts'

const usual = 'postgres://postgres@127.0.0.1:5432/postgres'
const named = process.env.POSTHOUSE_TEST_POSTGRES

/** Asks one question over a connection of its own. */
export async function ask(url: string, sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 3000 })
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query(sql, values)).rows
  } finally {
    await client.end()
  }
}

const answers = (url: string) =>
  ask(url, 'select 1').then(
    () => true,
    () => false,
  )
const found = await answers(named ?? usual)
/** Where none answers and none was named, one of our own is started when it is first asked for. */
const own = !found && named === undefined && noServer === undefined

/** Why nothing can be tested on PostgreSQL here, with the remedy; undefined when it can. */
export const noPostgres =
  found || own ? undefined : 'there is no PostgreSQL to test on: apt-get install postgresql, or set POSTHOUSE_TEST_POSTGRES=postgres://...'
if (noPostgres && process.env.CI === 'true') throw new Error(noPostgres)

let started: PrivatePostgres | undefined
let databases = 0

export interface OwnDatabase extends AsyncDisposable {
  readonly url: string
}

/** An empty database in that server, until disposed. */
export async function newDatabase(): Promise<OwnDatabase> {
  if (own) started ??= createPostgres()
  const server = started?.url ?? named ?? usual
  const name = `posthouse_test_${process.pid}_${randomBytes(4).toString('hex')}`
  await ask(server, `create database ${name} encoding 'UTF8' template template0`)
  databases++
  const url = new URL(server)
  url.pathname = `/${name}`
  return {
    url: url.href,
    async [Symbol.asyncDispose]() {
      await ask(server, `drop database if exists ${name} with (force)`)
      if (--databases > 0) return
      started?.[Symbol.dispose]()
      started = undefined
    },
  }
}
