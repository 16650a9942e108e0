/**
 * `npm run bench [-- NAME ...]`: the gateway beside a floor, in one run on one machine; read the ratios, not the figures.
 *
 * The load, the emulated Telegram and the emulated model share one process, the program under test has its own.
 */
import { measureFiles } from './files.ts'
import { measureHistory } from './history.ts'
import { measureSockets } from './sockets.ts'
import { measureStorage } from './storage.ts'
import { measureOwnShare, measureTurns } from './turns.ts'

const benches: Readonly<Record<string, () => Promise<void>>> = {
  turns: measureTurns,
  'own-share': async () => {
    await measureOwnShare(200)
    await measureOwnShare(500)
  },
  sockets: measureSockets,
  files: measureFiles,
  history: measureHistory,
  storage: measureStorage,
}

const names = process.argv.slice(2)
const unknown = names.filter((name) => !(name in benches))
if (unknown.length > 0) {
  console.error(`no bench is called ${unknown.join(', ')}; there are: ${Object.keys(benches).join(', ')}`)
  process.exit(2)
}
for (const [name, measure] of Object.entries(benches)) if (names.length === 0 || names.includes(name)) await measure()
