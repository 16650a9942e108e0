/** The cache's door. */
export { createCache } from './tiers.ts'
