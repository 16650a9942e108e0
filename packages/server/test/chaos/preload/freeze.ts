/** Preloaded into a gateway's process: while the file `freeze` is there, it stops itself when it has asked whether the lease is its own, right before it writes the offset. */
import { editSources } from './edit.ts'

const WRITE = 'set: (key, value) => inName(() => state.set(id, key, value, lease))'

editSources([
  {
    file: 'src/channels/accounts.ts',
    find: WRITE,
    replace: `set: (key, value) => inName(async () => {
      const { existsSync, rmSync } = await import('node:fs')
      if (key === 'offset' && existsSync('freeze')) {
        rmSync('freeze')
        process.kill(process.pid, 'SIGSTOP')
      }
      return await state.set(id, key, value, lease)
    })`,
  },
])
