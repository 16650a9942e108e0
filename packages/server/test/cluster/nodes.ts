/** Several gateways as processes of their own on one database, with ports that are known before they start. */
import { copyFileSync, existsSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { createPosthouse, type Posthouse } from '../journeys/posthouse.ts'

export interface OneOfSeveral extends Posthouse {
  readonly name: string
  readonly port: number
}

/**
 * Makes them; none runs yet. They have one key, which the one that starts first makes.
 * @param configOf the configuration of each, without name and port
 */
export async function createNodes(
  names: readonly string[],
  configOf: (name: string, port: number) => object,
): Promise<readonly OneOfSeveral[] & AsyncDisposable> {
  const ports = await freePorts(names.length)
  const nodes = names.map((name, index): OneOfSeveral => {
    const port = ports[index] ?? 0
    const config = configOf(name, port) as { server?: object }
    const posthouse = createPosthouse({ ...config, node: { name }, server: { port, ...config.server } })
    const start: Posthouse['start'] = async (...given) => {
      const key = nodes.map(({ folder }) => join(folder, 'posthouse.key')).find((path) => existsSync(path))
      const own = join(posthouse.folder, 'posthouse.key')
      if (key && key !== own) copyFileSync(key, own)
      await posthouse.start(...given)
    }
    return Object.assign(Object.create(posthouse) as Posthouse, { name, port, start })
  })
  return Object.assign(nodes, {
    async [Symbol.asyncDispose]() {
      await Promise.all(nodes.map((node) => node[Symbol.asyncDispose]()))
    },
  })
}

export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve) => {
          const server = createServer().listen(0, '127.0.0.1', () => resolve(server))
        }),
    ),
  )
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
