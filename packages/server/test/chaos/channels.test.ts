/** A short walk over the chat tools, with every commit; `npm run chaos -- --row F48` takes the long one. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { PATIENCE, problemsOf } from './row.ts'
import { channelRows } from './rows/channels.ts'

describe('chaos on the chat tools', { concurrency: 2 }, () => {
  for (const row of channelRows) {
    for (const part of ['Feishu, socket', 'WeCom, app', 'Slack, socket', 'Discord, gateway'])
      it(`${row.id} ${row.title}: ${part}`, async () =>
        assert.deepEqual(problemsOf(row, await row.run({ seed: 1, part, patience: PATIENCE })), []))
  }
})
