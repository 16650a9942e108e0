/** The channels that are built in, and the accounts opened on them. */
export { type AccountOfNode, accountsOf, keepAccountsKnown } from './account-states.ts'
export { createAccounts } from './accounts.ts'
export { decode as decodeWeb, web } from './web/index.ts'
