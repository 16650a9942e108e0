/** Ports for servers of our own, below those that connections get: nobody takes one while its server is being begun anew. */
import { createServer } from 'node:net'

/** One that may be taken: for who tries again. */
export const somePort = (): number => 12_000 + Math.floor(Math.random() * 20_000)

/** One that is free now. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = somePort()
    if (await isFree(port)) return port
  }
}

/** Several, all different. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const ports = new Set<number>()
  while (ports.size < count) ports.add(await freePort())
  return [...ports]
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer().once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
