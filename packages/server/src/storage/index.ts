/** Storage: the only place that knows SQL. */
export { createBlobs } from './blobs.ts'
export { type CopiedTable, copyDatabase } from './copy.ts'
export { type Findings, folderHolder, hasData, inspectDatabase, keyFits } from './inspect.ts'
export { formerNode, holdFolder, tellAddress, tellNode, toldAddress } from './lock.ts'
export { createQuota } from './quota.ts'
export { openStore } from './store.ts'
