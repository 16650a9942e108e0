/** What no single key can tell, and what would stop the start: a configuration that passes must start. */
import { BlockList, isIP } from 'node:net'
import { isAbsolute, relative } from 'node:path'
import { type DatabaseConfig, problemOfUrl } from './database.ts'
import { type Problem, words } from './validate.ts'

/** The proxy library's own names for groups of addresses. */
const PROXY_GROUPS = ['loopback', 'linklocal', 'uniquelocal']

/** What of a configuration these rules look at. */
interface Checked {
  readonly server: { readonly host: string; readonly publicUrl: string | undefined; readonly trustedProxies: readonly string[] }
  readonly privateAddresses: readonly string[]
  readonly broker: { readonly url: string | undefined }
  readonly redis: { readonly url: string | undefined }
  readonly discovery: { readonly url: string | undefined }
  readonly database: DatabaseConfig
  readonly keyFile: string
  readonly dataFolder: string
}

/** What a pattern cannot tell of an address. The address itself may hold a password: no message shows it. */
export function checkOutside(config: Pick<Checked, 'broker' | 'redis' | 'discovery'>): Problem[] {
  return Object.entries({ broker: 'url', redis: 'url', discovery: 'endpoint' } as const).flatMap(([name, key]) => {
    const { url } = config[name as 'broker' | 'redis' | 'discovery']
    if (url === undefined || URL.canParse(url)) return []
    const message = words(
      'this address cannot be read; in a user and a password write @ : / # % as %40 %3A %2F %23 %25',
      '无法解析该地址；用户名与密码中的 @ : / # % 请写作 %40 %3A %2F %23 %25',
    )
    return [{ path: [name, key], message }]
  })
}

export function checkServer(
  { server, privateAddresses, database, keyFile, dataFolder }: Omit<Checked, 'broker' | 'redis' | 'discovery'>,
  isFolder: (path: string) => boolean,
): Problem[] {
  const problems: Problem[] = []
  const problem = (path: (string | number)[], en: string, zh: string) => problems.push({ path, message: words(en, zh) })
  if (server.host !== 'localhost' && isIP(server.host) === 0) {
    problem(
      ['server', 'host'],
      'expected an address of this machine: 127.0.0.1 for itself alone, 0.0.0.0 for everybody',
      '应为本机地址：127.0.0.1 仅本机可访问，0.0.0.0 对所有人开放',
    )
  }
  if (server.publicUrl !== undefined && /[?#]/.test(server.publicUrl)) {
    problem(['server', 'public_url'], 'an address without ? and # is expected', '地址中不能有 ? 和 #')
  }
  server.trustedProxies.forEach((proxy, index) => {
    if (isNetwork(proxy) || PROXY_GROUPS.includes(proxy)) return
    problem(
      ['server', 'trusted_proxies', index],
      `expected an address, a network (10.0.0.0/8) or one of ${PROXY_GROUPS.join(', ')}`,
      `应为地址、网段（10.0.0.0/8）或 ${PROXY_GROUPS.join('、')} 之一`,
    )
  })
  privateAddresses.forEach((address, index) => {
    if (isNetwork(address)) return
    problem(
      ['security', 'private_addresses', index],
      'expected an address or a network (10.0.0.0/8), but not all of them',
      '应为地址或网段（10.0.0.0/8），且不能是全部地址',
    )
  })
  const wrong = problemOfUrl(database.url)
  if (wrong) problems.push({ path: ['database', 'url'], message: wrong })
  if (database.path !== undefined && isFolder(database.path))
    problem(['database', 'url'], 'this is a folder; name a file in it', '这是文件夹；请指定其中的文件')
  if (isFolder(keyFile)) problem(['security', 'key_file'], 'this is a folder; name a file in it', '这是文件夹；请指定其中的文件')
  const inside = relative(dataFolder, keyFile)
  if (keyFile === database.path || (inside === 'posthouse.lock' && !isAbsolute(inside)))
    problem(['security', 'key_file'], 'this file is used by the database; name another one', '该文件由数据库使用；请换一个')
  return problems
}

function isNetwork(text: string): boolean {
  const [address = '', prefix, more] = text.split('/')
  const family = isIP(address)
  if (family === 0 || more !== undefined || address.includes('%')) return false
  if (prefix === undefined) return true
  if (!/^\d{1,3}$/.test(prefix)) return false
  try {
    new BlockList().addSubnet(address, Number(prefix), family === 4 ? 'ipv4' : 'ipv6')
    return Number(prefix) > 0
  } catch {
    return false
  }
}
