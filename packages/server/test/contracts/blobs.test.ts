import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { dialectOf } from '../../src/storage/dialects/index.ts'
import { migrate } from '../../src/storage/migrations/index.ts'
import { folderPlace } from '../../src/storage/places/folder.ts'
import type { FilePlace } from '../../src/storage/places/place.ts'
import { tablePlace } from '../../src/storage/places/table.ts'
import { blobBehaviours } from './blobs.ts'
import { databases } from './databases.ts'

function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'posthouse-blobs-'))
  return work(folder).finally(() => rmSync(folder, { recursive: true }))
}

const suite = (name: string, missing: string | undefined, withPlace: (work: (place: FilePlace) => Promise<void>) => Promise<void>) =>
  describe(`blobs ${name}`, { skip: missing }, () => {
    for (const behaviour of blobBehaviours) it(behaviour.name, () => withPlace(behaviour.run))
  })

suite('in a folder', undefined, (work) => withFolder((folder) => work(folderPlace(folder))))
for (const { name, missing, url } of databases)
  suite(`in a table of ${name}`, missing, (work) =>
    withFolder(async (folder) => {
      const place = await url(folder)
      const dialect = await dialectOf(place)
      await using database = await dialect.open(place, {})
      await migrate(database, dialect)
      await work(tablePlace(dialect.builder, database))
    }),
  )
