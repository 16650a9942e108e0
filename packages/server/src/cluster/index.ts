/** The cluster's door. */
export { createSingleLive } from './single.ts'
