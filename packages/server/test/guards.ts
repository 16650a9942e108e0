/** What only the guards may do, as data: each kind of power has its homes, and every other file that uses it breaks law 5. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseSync } from 'oxc-parser'

interface Power {
  readonly name: string
  /** Members of modules; `*` stands for all of them. */
  readonly modules?: Readonly<Record<string, readonly string[]>>
  /** Names that are there without an import; `a.b` is a member of one. */
  readonly globals?: readonly string[]
  readonly homes: readonly string[]
}

const CRYPTO = {
  signatures: [
    'createHmac',
    'createSign',
    'createVerify',
    'createPublicKey',
    'createPrivateKey',
    'hmac',
    'sign',
    'verify',
    'timingSafeEqual',
  ],
  passwords: ['argon2', 'argon2Sync', 'scrypt', 'scryptSync', 'pbkdf2', 'pbkdf2Sync'],
  ciphers: [
    'createCipheriv',
    'createDecipheriv',
    'createSecretKey',
    'hkdf',
    'hkdfSync',
    'publicEncrypt',
    'privateDecrypt',
    'webcrypto',
    'subtle',
  ],
}

/** The one table of homes: paths of files below `src/`, with the reason where it is not plain. */
export const powers: readonly Power[] = [
  {
    name: 'signatures',
    modules: { crypto: CRYPTO.signatures },
    // Passwords are compared in constant time, too.
    homes: ['security/webhook.ts', 'security/passwords.ts', 'security/pseudonyms.ts', 'security/platform-crypto.ts', 'security/links.ts'],
  },
  { name: 'passwords', modules: { crypto: CRYPTO.passwords }, homes: ['security/passwords.ts'] },
  {
    name: 'ciphers',
    modules: { crypto: CRYPTO.ciphers },
    globals: ['crypto.subtle'],
    // Files are sealed in chunks, as they are written; platforms have wrappings of their own.
    homes: ['security/platform-crypto.ts', 'security/sealer.ts', 'security/key.ts', 'storage/blobs.ts'],
  },
  {
    name: 'environment',
    modules: { process: ['env', 'default'] },
    globals: ['process.env'],
    // The command line hands it to the secret resolver (config/document.ts).
    homes: ['cli/program.ts', 'cli/start.ts', 'cli/local.ts', 'cli/lone.ts', 'cli/init.ts', 'cli/terminal.ts'],
  },
  {
    name: 'network',
    modules: {
      http: ['*'],
      https: ['*'],
      http2: ['*'],
      tls: ['*'],
      dgram: ['*'],
      dns: ['*'],
      'dns/promises': ['*'],
      net: ['connect', 'createConnection', 'Socket', 'createServer', 'Server', 'default'],
      undici: ['*'],
      ws: ['*'],
    },
    globals: ['fetch', 'WebSocket', 'EventSource', 'XMLHttpRequest'],
    // The command line asks our own gateway, and whether a port is free and a model's server is there.
    homes: ['security/fetch.ts', 'security/socket.ts', 'security/guarded-fetch.ts', 'cli/local.ts', 'cli/doctor/host.ts'],
  },
  {
    name: 'code',
    modules: { vm: ['*'], child_process: ['*'], module: ['createRequire', 'default'] },
    globals: ['eval', 'Function', 'require', 'process.getBuiltinModule', 'process.binding', 'process.dlopen'],
    // What the owner names as a plugin, or as a server of tools, is code, and wanted as such.
    homes: ['plugins/index.ts', 'mcp/stdio.ts'],
  },
]

/** What is compared with `===` gives away how much of it was right. */
const SECRET = /(secret|signature|passw(or)?d|hmac|api_?key)$/i

type Node = { readonly type: string; readonly start: number } & Readonly<Record<string, unknown>>

/** Answers what a file may not do, in words. */
export function checkPowers(root: string, path: string): string[] {
  const found = new Set<string>()
  const { program, errors } = parseSync(path, readFileSync(join(root, path), 'utf8'))
  if (errors.length > 0) throw new Error(`${path} cannot be read: ${errors[0]?.message}`)
  const use = (power: Power, what: string) => {
    if (!power.homes.includes(path)) found.add(`${what}: ${power.name} live in ${power.homes.join(', ') || 'no file'}`)
  }
  const useModule = (specifier: unknown, members: readonly string[]) => {
    if (typeof specifier !== 'string') return
    const name = specifier.replace(/^node:/, '')
    for (const power of powers) {
      const guarded = power.modules?.[name]
      // A namespace, or everything at once, hides which members are used.
      const hit = guarded && members.find((member) => guarded.includes('*') || guarded.includes(member) || member === '*')
      if (hit) use(power, `${specifier}.${hit}`)
    }
  }
  const useGlobal = (name: string) => {
    for (const power of powers) if (power.globals?.includes(name)) use(power, name)
  }
  walk(program as unknown as Node, [], (node, isBound) => {
    if (node.type === 'ImportDeclaration' || node.type === 'ExportNamedDeclaration') {
      const values = ((node.specifiers ?? []) as Node[]).filter((entry) => entry.importKind !== 'type' && entry.exportKind !== 'type')
      const isType = node.importKind === 'type' || node.exportKind === 'type'
      if (!isType) useModule((node.source as Node | null)?.value, values.map(memberOf))
    } else if (node.type === 'ExportAllDeclaration') useModule((node.source as Node).value, ['*'])
    else if (node.type === 'ImportExpression') useModule((node.source as Node).value, ['*'])
    else if (node.type === 'Identifier' && !isBound(String(node.name))) useGlobal(String(node.name))
    else if (node.type === 'MemberExpression') {
      const name = `${nameOf(node.object as Node)}.${nameOf(node.property as Node)}`.replace(/^(globalThis|global)\./, '')
      useGlobal(name)
    } else if (node.type === 'VariableDeclarator' && (node.id as Node).type === 'ObjectPattern') {
      for (const entry of (node.id as Node).properties as Node[])
        useGlobal(`${nameOf(node.init as Node)}.${nameOf(entry.key as Node)}`.replace(/^(globalThis|global)\./, ''))
    } else if (node.type === 'BinaryExpression' && /^[!=]==?$/.test(String(node.operator))) {
      const sides = [node.left as Node, node.right as Node]
      const plain = sides.some((side) => side.type === 'Literal' || nameOf(side) === 'undefined')
      // At a terminal people compare their own words.
      if (!plain && !path.startsWith('cli/') && sides.some((side) => SECRET.test(nameOf(side))))
        found.add(`${node.operator} on a secret: security/ compares in constant time`)
    }
  })
  return [...found]
}

const memberOf = (specifier: Node): string => {
  if (specifier.type === 'ImportNamespaceSpecifier' || specifier.type === 'ImportDefaultSpecifier') return '*'
  return nameOf((specifier.imported ?? specifier.local) as Node)
}

/** The last name of an expression: `b` of `a.b`, also when it is written as a text. */
function nameOf(node: Node | null | undefined): string {
  if (!node) return ''
  if (node.type === 'MemberExpression') return nameOf(node.property as Node)
  if (node.type === 'Identifier') return String(node.name)
  return node.type === 'Literal' ? String(node.value) : ''
}

/** Keys under which an identifier is a name and no use of one. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  MemberExpression: ['property'],
  Property: ['key'],
  MethodDefinition: ['key'],
  PropertyDefinition: ['key'],
  ImportSpecifier: ['imported', 'local'],
  ImportDefaultSpecifier: ['local'],
  ImportNamespaceSpecifier: ['local'],
  ExportSpecifier: ['exported'],
  LabeledStatement: ['label'],
}

/** Walks what runs, types left out, and knows for each node which names are bound around it. */
function walk(node: unknown, scopes: readonly ReadonlySet<string>[], look: (node: Node, isBound: (name: string) => boolean) => void): void {
  if (Array.isArray(node)) {
    for (const entry of node) walk(entry, scopes, look)
    return
  }
  if (typeof node !== 'object' || node === null) return
  const { type } = node as Node
  if (typeof type !== 'string' || /^TS(?!As|NonNull|Satisfies|Instantiation)/.test(type)) return
  const inner = [...scopes, namesBoundBy(node as Node)]
  look(node as Node, (name) => inner.some((scope) => scope.has(name)))
  for (const [key, value] of Object.entries(node)) {
    if (key === 'type' || key === 'typeAnnotation' || key === 'returnType' || key === 'typeParameters' || key === 'typeArguments') continue
    const isName = NAMES[type]?.includes(key) && !(node as Node).computed && !(type === 'Property' && (node as Node).shorthand)
    if (!isName) walk(value, inner, look)
  }
}

/** Names that a function, a block or a file binds for what is within. */
function namesBoundBy(node: Node): ReadonlySet<string> {
  const names = new Set<string>()
  const bind = (pattern: unknown): void => {
    const target = pattern as Node | null
    if (!target) return
    if (target.type === 'Identifier') names.add(String(target.name))
    else if (target.type === 'ObjectPattern') for (const entry of target.properties as Node[]) bind(entry.value ?? entry.argument)
    else if (target.type === 'ArrayPattern') for (const entry of target.elements as Node[]) bind(entry)
    else if (target.type === 'AssignmentPattern') bind(target.left)
    else if (target.type === 'RestElement') bind(target.argument)
  }
  const declare = (statement: Node | null | undefined): void => {
    if (!statement) return
    if (statement.type === 'VariableDeclaration') for (const entry of statement.declarations as Node[]) bind(entry.id)
    else if (statement.type === 'FunctionDeclaration' || statement.type === 'ClassDeclaration') bind(statement.id)
    else if (statement.type === 'ImportDeclaration') for (const entry of statement.specifiers as Node[]) bind(entry.local)
    else if (statement.type.startsWith('Export')) declare(statement.declaration as Node | null)
  }
  if ('params' in node) for (const param of node.params as Node[]) bind(param)
  if (node.type === 'Program' || node.type === 'BlockStatement') for (const statement of node.body as Node[]) declare(statement)
  if (/^For/.test(node.type)) declare((node.init ?? node.left) as Node | undefined)
  if (node.type === 'CatchClause') bind(node.param)
  return names
}
