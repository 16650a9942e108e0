/**
 * Stands in the place of what the composition root imports: the same, with every call of a seam told to `reach`. */
import type { Connection, Receipt } from '@posthouse/contract'
import * as clocks from '../../../src/base/clock.ts'
import * as channels from '../../../src/channels/index.ts'
import * as facade from '../../../src/models-facade.ts'
import type { Blobs } from '../../../src/ports/blobs.ts'
import type { Models } from '../../../src/ports/models.ts'
import type { Store } from '../../../src/ports/store.ts'
import type { Tools } from '../../../src/ports/tools.ts'
import * as storage from '../../../src/storage/index.ts'
import * as realTools from '../../../src/tools/index.ts'
import { around, reach } from './reach.ts'

/** The named methods of an object, each told; the rest as it is. */
function told<T extends object>(part: T, name: string, methods: readonly (keyof T & string)[]): T {
  // Own methods all of them: who spreads it must not lose the others.
  const wrapped = Object.create(null, Object.getOwnPropertyDescriptors(part)) as T
  for (const method of methods) {
    const real = part[method] as (...args: unknown[]) => unknown
    Object.defineProperty(wrapped, method, {
      value: around(`${name}.${method}`, real.bind(part)),
      configurable: true,
      enumerable: true,
    })
  }
  return wrapped
}

// ---- Storage ----------------------------------------------------------------------------------------------------------

export const { createQuota, formerNode, hasData, holdFolder, tellAddress, tellNode } = storage

export const openStore: typeof storage.openStore = async (options) => {
  const store = await around('openStore', storage.openStore)(options)
  const { outbox } = store
  const confirm = around<Parameters<typeof outbox.confirm>, Promise<void>>(
    (_node, _id, _receipt, last) => `outbox.confirm.${last ? 'last' : 'piece'}`,
    outbox.confirm.bind(outbox),
  )
  const set = around<Parameters<typeof store.accountState.set>, Promise<void>>(
    (_account, key) => `accountState.set.${key}`,
    store.accountState.set.bind(store.accountState),
  )
  return {
    ...store,
    inbox: told(store.inbox, 'inbox', ['record']),
    turns: told(withLateClaims(store.turns), 'turns', ['claim', 'finish', 'noteDraft']),
    toolCalls: told(store.toolCalls, 'toolCalls', ['intend', 'settle', 'takeOver']),
    outbox: Object.defineProperty(told(outbox, 'outbox', ['begin', 'retry', 'bury']), 'confirm', { value: confirm }),
    conversations: told(store.conversations, 'conversations', ['rewrite']),
    files: told(store.files, 'files', ['add']),
    accountState: Object.create(store.accountState, { set: { value: set } }),
    prune: around('prune', store.prune),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  }
}

/** Claims whose answer is CHAOS_LATE_CLAIM milliseconds on its way. */
function withLateClaims(turns: Store['turns']): Store['turns'] {
  const late = Number(process.env.CHAOS_LATE_CLAIM ?? 0)
  if (late === 0) return turns
  const claim: Store['turns']['claim'] = async (...args) => {
    const turn = await turns.claim(...args)
    await clocks.systemClock.sleep(late)
    return turn
  }
  return { ...turns, claim }
}

export const createBlobs: typeof storage.createBlobs = (place, key) => told<Blobs>(storage.createBlobs(place, key), 'blobs', ['put'])

// ---- Channels ---------------------------------------------------------------------------------------------------------

export const { decodeWeb, keepAccountsKnown, web } = channels

export const createAccounts: typeof channels.createAccounts = (parts) => {
  const accounts = channels.createAccounts({ ...parts, receive: around('receive', parts.receive) })
  const wrapped = new WeakMap<Connection, Connection>()
  const connectionOf = (connection: Connection): Connection => {
    const known = wrapped.get(connection)
    if (known) return known
    const { edit } = connection
    const kind = (key: string) => (key.startsWith('draft:') ? 'preview' : 'answer')
    const send = around<Parameters<Connection['send']>, Promise<Receipt>>(
      (_piece, _to, options) => `${kind(options.idempotencyKey)}.send`,
      connection.send.bind(connection),
    )
    const edited =
      edit &&
      around<Parameters<typeof edit>, Promise<Receipt>>(
        (_receipt, _piece, options) => `${kind(options.idempotencyKey)}.edit`,
        edit.bind(connection),
      )
    const made: Connection = Object.create(connection, { send: { value: send }, edit: { value: edited } })
    wrapped.set(connection, made)
    return made
  }
  return Object.create(accounts, {
    find: {
      value: (id: string) => {
        const account = accounts.find(id)
        // The web chat's platform is our own store: there is nothing between us and it.
        return account?.connection && account.channel !== 'web' ? { ...account, connection: connectionOf(account.connection) } : account
      },
    },
  })
}

// ---- Models and tools -------------------------------------------------------------------------------------------------

export const createModels: typeof facade.createModels = (initial, parts) => {
  const models = facade.createModels(initial, parts)
  const stream: Models['stream'] = async function* (...args) {
    reach('before', 'models.stream')
    for await (const event of models.stream(...args)) {
      if (event.type === 'text') reach('before', 'models.text')
      yield event
    }
    reach('after', 'models.stream')
  }
  return Object.create(models, { stream: { value: stream } })
}

export const { builtInTools } = realTools

export const createTools: typeof realTools.createTools = (...args) => {
  const tools: Tools = realTools.createTools(...args)
  const check: Tools['check'] = (call) => {
    const checked = tools.check(call)
    return typeof checked === 'string' ? checked : { ...checked, run: around('tools.run', checked.run) }
  }
  // What there is may change while it runs.
  return Object.create(tools, { check: { value: check } })
}

// ---- Time -------------------------------------------------------------------------------------------------------------

const HOUR = 3_600_000
/** Hourly work comes soon; CHAOS_DAYS shifts what the gateway takes for today. */
export const systemClock: typeof clocks.systemClock = {
  ...clocks.systemClock,
  now: () => clocks.systemClock.now() + Number(process.env.CHAOS_DAYS ?? 0) * 24 * HOUR,
  every: (ms, task) => clocks.systemClock.every(ms === HOUR ? 200 : ms, task),
}
