/** The protocol's own library: loaded when the first server is configured, and not before. */
export type Sdk = typeof import('@modelcontextprotocol/client')

export const loadSdk = (): Promise<Sdk> => import('@modelcontextprotocol/client')
