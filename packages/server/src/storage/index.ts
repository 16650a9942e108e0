/** Storage: the only place that knows SQL. */
export type { Manifest } from './archive.ts'
export { createBackup, type Verified, verifyBackup } from './backup.ts'
export { createBlobs } from './blobs.ts'
export { type Copied, copyDatabase } from './copy.ts'
export { type Findings, folderHolder, hasData, inspectDatabase, keyFits } from './inspect.ts'
export { holdFolder, tellAddress, toldAddress } from './lock.ts'
export { createQuota } from './quota.ts'
export { openStore } from './store.ts'
