/** Storage: the only place that knows SQL. */
export { createBlobs } from './blobs.ts'
export { type DatabaseFindings, folderHolder, inspectDatabase, keyFits } from './inspect.ts'
export { openStore, type StoreOptions, WrongKey } from './store.ts'
