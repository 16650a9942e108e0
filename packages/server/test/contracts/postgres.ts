/** A PostgreSQL for tests: the one that POSTHOUSE_TEST_POSTGRES names, the one at the usual local address, or one of our own. */
import { randomBytes } from 'node:crypto'
import { after } from 'node:test'
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
const server = () => {
  if (own) started ??= createPostgres()
  return started?.url ?? named ?? usual
}

const database = `posthouse_test_${process.pid}_${randomBytes(4).toString('hex')}`
let made: Promise<unknown> | undefined
let schemas = 0

/** A schema of its own in a database that goes with the process: an empty place like a new database. */
export async function newPlace(): Promise<string> {
  made ??= ask(server(), `create database ${database} encoding 'UTF8' template template0`)
  await made
  const url = new URL(server())
  url.pathname = `/${database}`
  const schema = `place_${schemas++}`
  await ask(url.href, `create schema ${schema}`)
  url.searchParams.set('options', `-csearch_path=${schema}`)
  return url.href
}

after(async () => {
  if (!made) return
  await made.catch(() => {})
  await ask(server(), `drop database if exists ${database} with (force)`)
  started?.[Symbol.dispose]()
})
