/** Rows about what stands before the nodes: two machines with HAProxy and keepalived, and one address. */

import { createMachines, type Machine, startMachines } from '../../../deploy/machines.ts'
import { askOnce, askOnPages } from '../../../deploy/people.ts'
import { until } from '../../../journeys/posthouse.ts'
import type { Row } from '../../row.ts'
import { createCluster } from '../world.ts'

const PAGES = 8

/** What happens to the machine that has the address, and how long it may take until the address answers again, in milliseconds. */
const fates: Readonly<Record<string, { readonly bound: number; does(machine: Machine): Promise<void> | void }>> = {
  'the balancer is killed': { bound: 6000, does: (machine) => machine.killBalancer() },
  'keepalived is killed': { bound: 6000, does: (machine) => machine.killKeepalived() },
  'the machine is gone': { bound: 6000, does: (machine) => machine.unplug() },
}

const addressWanders: Row = {
  id: 'F29',
  title: 'The balancer, keepalived or its machine is gone',
  injection:
    'two machines (network namespaces) with HAProxy and keepalived before two nodes, eight open pages that ask all the time; kill -9 of HAProxy or of keepalived where the address is, or its plug is pulled',
  invariant: 'the pages come back and go on after the last message that they have: every question has its one answer, whole',
  bound: 'the address answers again in 6 s (keepalived looks twice, a second apart, and hears nothing for three)',
  parts: Object.keys(fates),
  needs: ['root', 'keepalived'],
  async run({ seed, mutant, part }) {
    const addresses: string[] = []
    await using machines = await createMachines(() => [addresses[0] ?? '', addresses[1] ?? ''])
    const { host, url, certificate } = machines
    const ca = certificate.certificate
    await using world = await createCluster({
      seed,
      mutant,
      hurried: true,
      config: () => ({ server: { host, public_url: url, trusted_proxies: [`${host}/24`] }, resources: { requests_per_minute: 100_000 } }),
    })
    addresses.push(...world.nodes.map(({ port }) => `${host}:${port}`))
    await world.start()
    await startMachines(machines)
    const answers = () =>
      askOnce(`${url}/readyz`, ca, { headersTimeout: 1000 }).then(
        ({ status }) => status === 200,
        () => false,
      )
    await until(answers, 'the address answers', 30_000)
    const { stdout } = await world.node('a').cli('token', 'create', '--name', 'page', '--scopes', 'chat', '--json')
    const { token } = JSON.parse(stdout) as { token: string }
    await using pages = askOnPages([{ url, token, ca }], PAGES)
    await until(() => pages.asked > PAGES * 4, 'people ask')
    const master = machines.machines.find(({ hasAddress }) => hasAddress)
    if (!master) throw new Error('nobody has the address')
    const fate = fates[part] ?? { bound: 0, does: () => {} }
    const began = performance.now()
    await fate.does(master)
    // Until it is noticed, the old one may still answer.
    await until(
      () => machines.machines.some((machine) => machine !== master && machine.hasAddress),
      'the other one has the address',
      20_000,
    )
    await until(answers, 'the address answers again', 20_000)
    const took = performance.now() - began
    world.recovered(took)
    const before = pages.asked
    await until(() => pages.asked > before + PAGES * 4, 'people go on', 30_000)
    const { asked, answered, doubled, cameBack } = await pages.end()
    return {
      ...(await world.outcome(
        [
          took > fate.bound && `the address answered again after ${Math.round(took)} ms`,
          answered !== asked && `${answered} answers to ${asked} questions`,
          doubled > 0 && `${doubled} answers came twice on a page`,
        ],
        `${cameBack} pages came back`,
      )),
      asked,
      admitted: asked,
      answered,
    }
  },
}

export const balancerRows: readonly Row[] = [addressWanders]
