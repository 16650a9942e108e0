/** The channels that are built in, and the accounts opened on them. */
export { type AccountSettings, createAccounts } from './accounts.ts'
export { createWebChannel, decode as decodeWeb } from './web/index.ts'
