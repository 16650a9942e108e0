/** Operations' door. */

export { freeRatio } from './disk.ts'
export { type AppLogger, createLogger } from './log.ts'
export { returnMemory } from './memory.ts'
export { createMetrics, metricTable } from './metrics.ts'
export { keepUp } from './upkeep.ts'
