/** Configuration: read, checked, explained. */
export { databaseOf, problemOfUrl } from './database.ts'
export { readText } from './document.ts'
export { accountFields, endpointFields, rootFields } from './fields.ts'
export { jsonSchema } from './json-schema.ts'
export {
  type AccountConfig,
  type Catalog,
  type Config,
  type EndpointConfig,
  findConfig,
  type Loaded,
  loadConfig,
  parseConfig,
} from './load.ts'
export { mcpFields } from './mcp.ts'
export { parseSettings } from './settings.ts'
export { formatUnit, nearest } from './validate.ts'
export { type FileStates, statesOf, watchFile } from './watch.ts'
