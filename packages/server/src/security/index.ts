/** Security's door: the guards, one of each kind. */
export { authorize, scopesOf } from './authorize.ts'
export { createFetch, type FetchClient } from './fetch.ts'
export { createGuardedFetch } from './guarded-fetch.ts'
export { loadKey, type MasterKey } from './key.ts'
export { checkPassword, hashPassword, passwordRule } from './passwords.ts'
export { createSealer } from './sealer.ts'
export { createTokens, hashSecret, newSecret } from './tokens.ts'
export { mayBePlatform, verifyWebhook } from './webhook.ts'
