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

const parse = (text: string | undefined) => JSON.parse(text || '{}') as Kept

export async function pausesOf(settings: SettingStore): Promise<Pauses> {
  const kept = parse(await settings.get(PAUSED))
  return { since: (account) => kept[account] ?? kept[ALL], all: kept[ALL] }
}

/** Of two operators at the same time, neither undoes what the other does. */
async function change(settings: SettingStore, to: (kept: Kept) => Kept): Promise<void> {
  for (;;) {
    const before = await settings.get(PAUSED)
    if (await settings.swap(PAUSED, before, JSON.stringify(to(parse(before))))) return
  }
}

/** Pauses these accounts; undefined: all, those to come included. */
export function pause(settings: SettingStore, accounts: readonly string[] | undefined, now: number): Promise<void> {
  return change(settings, (kept) => ({
    ...kept,
    ...Object.fromEntries((accounts ?? [ALL]).map((account) => [account, kept[account] ?? now])),
  }))
}

/** Lets these go on; undefined: all. `configured`: if all were paused, the others of these stay so. */
export function resume(settings: SettingStore, accounts: readonly string[] | undefined, configured: readonly string[]): Promise<void> {
  return change(settings, ({ [ALL]: all, ...kept }) => {
    const still = { ...(all === undefined ? {} : Object.fromEntries(configured.map((account) => [account, all]))), ...kept }
    return Object.fromEntries(Object.entries(still).filter(([account]) => accounts && !accounts.includes(account)))
  })
}
