/** Wires of one node's own to what all of them share. */
import { createTap, type Tap } from '../../cluster/tap.ts'

export interface Wire extends AsyncDisposable {
  readonly url: string
  readonly tap: Tap
}

/** A wire to the server of this address; the address leads through it. */
export async function wireTo(address: string): Promise<Wire> {
  const url = new URL(address)
  const tap = await createTap({ host: url.hostname, port: Number(url.port || 5432) })
  url.hostname = '127.0.0.1'
  url.port = String(tap.port)
  return { url: url.href.replace(/\/$/, ''), tap, [Symbol.asyncDispose]: () => tap[Symbol.asyncDispose]() }
}
