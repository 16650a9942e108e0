/** Several gateways as processes of their own on one database, with ports that are known before they start. */
import { copyFileSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { createPosthouse, type Posthouse } from '../journeys/posthouse.ts'
import { freePorts } from '../ports.ts'

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
