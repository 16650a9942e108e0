/** Storage: the only place that knows SQL. */
export { createBlobs } from './blobs.ts'
export { folderHolder, inspectDatabase, keyFits } from './inspect.ts'
export { holdFolder, tellAddress, toldAddress } from './lock.ts'
export { createQuota } from './quota.ts'
export { openStore } from './store.ts'
