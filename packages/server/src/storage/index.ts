/** Storage: the only place that knows SQL. */
export { createBlobs } from './blobs.ts'
export { FolderInUse, holdFolder } from './lock.ts'
export { openStore, WrongKey } from './store.ts'
