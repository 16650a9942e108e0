/** HTTP's door. */
export type { Gateway, SentMessage } from './gateway.ts'
export { type HttpServer, startHttp } from './server.ts'
