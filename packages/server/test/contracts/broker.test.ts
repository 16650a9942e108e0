import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { systemClock as clock } from '../../src/base/clock.ts'
import { createEmbeddedBroker, openRabbitBroker } from '../../src/broker/index.ts'
import type { Broker } from '../../src/ports/broker.ts'
import { clearRabbit, noRabbit, ownPrefix, skipWithout, wireTo } from '../cluster/servers.ts'
import { silent } from '../cluster/silent.ts'
import { type BrokerHarness, brokerBehaviours } from './broker.ts'

async function withRabbit(run: (harness: BrokerHarness) => Promise<void>): Promise<void> {
  const prefix = ownPrefix()
  await using wire = await wireTo.rabbit()
  const opened: Broker[] = []
  try {
    await run({
      async open(prefetch = 10) {
        const broker = await openRabbitBroker({ url: wire.url, prefix, prefetch, clock, ...silent })
        opened.push(broker)
        return broker
      },
    })
  } finally {
    for (const broker of opened) await broker[Symbol.asyncDispose]()
    await clearRabbit(prefix)
  }
}

describe('the embedded broker', () => {
  for (const { name, run, shared } of brokerBehaviours) if (!shared) it(name, () => run({ open: async () => createEmbeddedBroker() }))
})

describe('RabbitMQ', { skip: skipWithout(noRabbit), timeout: 60_000 }, () => {
  it('is there', () => assert.equal(noRabbit, undefined))
  for (const { name, run } of brokerBehaviours) it(name, () => withRabbit(run))
})
