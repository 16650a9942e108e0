/** HTTP's door. */
export { type Gateway, type HttpOptions, type HttpServer, type SentMessage, startHttp } from './server.ts'
