/** Which addresses of the network are public. Judged by their numbers, never by their spelling. */
import { BlockList, isIP, isIPv4 } from 'node:net'

/**
 * What is not the public internet, of IANA's registry for IPv4, and what a cloud serves its machines on a public number.
 * https://www.iana.org/assignments/iana-ipv4-special-registry
 */
const NOT_PUBLIC_4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '168.63.129.16/32',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
]
/** Of IPv6 only this part is given to the public; everything else (loopback, unique local, link local, mapped, multicast) is not. */
const PUBLIC_6 = ['2000::/3']
/** What within it is not: protocol assignments and tunnels that hide another address (Teredo, 6to4), documentation. */
const NOT_PUBLIC_6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']
/** Behind a translator (RFC 6052) the last 32 bits are an IPv4 address: as public as that one. */
const TRANSLATED = '64:ff9b::'

const notPublic4 = networks(NOT_PUBLIC_4)
const public6 = networks([...PUBLIC_6, `${TRANSLATED}/96`])
const notPublic6 = networks([...NOT_PUBLIC_6, ...NOT_PUBLIC_4.map(translated)])

function translated(network: string): string {
  const [address, prefix] = network.split('/')
  return `${TRANSLATED}${address}/${96 + Number(prefix)}`
}

/** A set of addresses and networks (`10.0.0.0/8`). @throws when one of them is neither. */
export function networks(list: readonly string[]): BlockList {
  const set = new BlockList()
  for (const entry of list) {
    const [address = '', prefix] = entry.split('/')
    const family = isIPv4(address) ? 'ipv4' : 'ipv6'
    set.addSubnet(address, Number(prefix ?? (family === 'ipv4' ? 32 : 128)), family)
  }
  return set
}

/** Whether the address is in the set. What has a zone (`fe80::1%eth0`), or is no address, is in none. */
export function isWithin(address: string, set: BlockList): boolean {
  const family = isIP(address)
  return family !== 0 && !address.includes('%') && set.check(address, family === 4 ? 'ipv4' : 'ipv6')
}

/** Whether everybody may reach it. Everything that is not known to be public is not. */
export function isPublicAddress(address: string): boolean {
  return isIPv4(address) ? !isWithin(address, notPublic4) : isWithin(address, public6) && !isWithin(address, notPublic6)
}
