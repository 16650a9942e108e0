/** The cluster's door. */
export { probeRedis } from './bus.ts'
export { createLeases } from './leases.ts'
export { joinNodes } from './node.ts'
export { createLocalRates } from './rates.ts'
export { openShared } from './redis.ts'
export { createSingleLive } from './single.ts'
