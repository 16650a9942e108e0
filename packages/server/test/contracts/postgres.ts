/** Empty places in the tests' PostgreSQL that go with the test's process. */
import { after } from 'node:test'
import { ask, newDatabase, type OwnDatabase } from './postgres-server.ts'

export { ask, noPostgres } from './postgres-server.ts'

let made: Promise<OwnDatabase> | undefined
let schemas = 0

/** A schema of its own in a database that goes with the process: an empty place like a new database. */
export async function newPlace(): Promise<string> {
  made ??= newDatabase()
  const url = new URL((await made).url)
  const schema = `place_${schemas++}`
  await ask(url.href, `create schema ${schema}`)
  url.searchParams.set('options', `-csearch_path=${schema}`)
  return url.href
}

after(async () => {
  await (await made?.catch(() => undefined))?.[Symbol.asyncDispose]()
})
