/**
 * `npm run bench [-- NAME ...]`: the gateway beside a floor, in one run on one machine; read the ratios, not the figures.
 * `npm run bench -- --cluster`: several nodes on PostgreSQL, RabbitMQ and Redis beside one on SQLite; only when it is asked for.
 *
 * The load, the emulated Telegram and the emulated model share one process, the program under test has its own.
 */
import { measureAcks } from './acks.ts'
import { measureCluster } from './cluster.ts'
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
  acks: measureAcks,
  sockets: measureSockets,
  files: measureFiles,
  history: measureHistory,
  storage: measureStorage,
  '--cluster': measureCluster,
}

const names = process.argv.slice(2)
const unknown = names.filter((name) => !(name in benches))
if (unknown.length > 0) {
  console.error(`no bench is called ${unknown.join(', ')}; there are: ${Object.keys(benches).join(', ')}`)
  process.exit(2)
}
const wanted = names.length > 0 ? names : Object.keys(benches).filter((name) => name !== '--cluster')
for (const name of wanted) await benches[name]?.()
