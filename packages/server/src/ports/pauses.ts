/** Accounts that an operator, or a restore, has paused: nothing is received and nothing is sent. Durable, and the same for all nodes. */
import type { SettingStore } from './store.ts'

/** The setting: since when, by account; `*` stands for all. */
export const PAUSED = 'channels_paused'
const ALL = '*'

export interface Pauses {
  /** When it was paused; undefined while it is not. */
  since(account: string): number | undefined
  /** The same for all. */
  readonly all: number | undefined
}

type Kept = Readonly<Record<string, number>>

const read = async (settings: SettingStore): Promise<Kept> => JSON.parse((await settings.get(PAUSED)) || '{}') as Kept

export async function pausesOf(settings: SettingStore): Promise<Pauses> {
  const kept = await read(settings)
  return { since: (account) => kept[account] ?? kept[ALL], all: kept[ALL] }
}

/** Pauses these accounts; undefined: all, those to come included. */
export async function pause(settings: SettingStore, accounts: readonly string[] | undefined, now: number): Promise<void> {
  const kept = await read(settings)
  const more = Object.fromEntries((accounts ?? [ALL]).map((account) => [account, kept[account] ?? now]))
  await settings.set(PAUSED, JSON.stringify({ ...kept, ...more }))
}

/** Lets these go on; undefined: all. `configured`: if all were paused, the others of these stay so. */
export async function resume(
  settings: SettingStore,
  accounts: readonly string[] | undefined,
  configured: readonly string[],
): Promise<void> {
  const { [ALL]: all, ...kept } = await read(settings)
  const still = { ...(all === undefined ? {} : Object.fromEntries(configured.map((account) => [account, all]))), ...kept }
  const left = Object.entries(still).filter(([account]) => accounts && !accounts.includes(account))
  await settings.set(PAUSED, JSON.stringify(Object.fromEntries(left)))
}
