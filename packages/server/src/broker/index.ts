/** The broker's door. */
export { createEmbeddedBroker } from './embedded.ts'
export { openRabbitBroker, probeRabbit } from './rabbitmq.ts'
