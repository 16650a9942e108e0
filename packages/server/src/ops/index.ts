/** Operations' door. */
export { type AppLogger, createLogger } from './log.ts'
export { createMetrics, type Metrics, metricTable } from './metrics.ts'
