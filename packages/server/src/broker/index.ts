/** The broker's door. */
export { createEmbeddedBroker } from './embedded.ts'
