/** Where a database keeps the bytes of its files. */
import type { Database, Dialect } from '../dialects/dialect.ts'
import { folderPlace } from './folder.ts'
import { type FilePlace, withOld } from './place.ts'
import { tablePlace } from './table.ts'

type Keeps = Pick<Dialect, 'keepsFiles' | 'builder'>
type Tables = Pick<Database, 'read' | 'write'>

/** Where files are looked for. */
export function placeOf(dialect: Keeps, database: Tables, folder: string): FilePlace {
  const place = newPlaceOf(dialect, database, folder)
  return dialect.keepsFiles ? withOld(place, folderPlace(folder)) : place
}

/** Where files of a copy come to, which may be made from that very folder. */
export function newPlaceOf({ keepsFiles, builder }: Keeps, database: Tables, folder: string): FilePlace {
  return keepsFiles ? tablePlace(builder, database) : folderPlace(folder)
}
