// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are the configuration's own placeholders
/** Configurations that are wrong, and what is said of each: place, keys and the point of the message. All problems of a file are listed. */

export const SECRET = '123456:AAE-secret-of-nobody-0123456789abcdef'
const ENDPOINT = 'models:\n  endpoints:\n    main: { api: openai, base_url: "http://127.0.0.1:1/v1", model: m'

export interface BrokenConfiguration {
  readonly name: string
  readonly text: string
  /** `line:column keys: ...`, as regular expressions over the part behind the file's name. */
  readonly problems: readonly RegExp[]
  /** Whether only an account stays closed, and the rest starts. */
  readonly starts?: boolean
}

export const broken: readonly BrokenConfiguration[] = [
  // ---- YAML itself
  { name: 'a tab', text: 'server:\n\tport: 1', problems: [/^2:1: a tab; indent with spaces$/] },
  { name: 'a key twice', text: 'server: {}\nserver: {}', problems: [/^2:1: this key was there before$/] },
  { name: 'two keys twice', text: 'a: 1\na: 2\nb: 1\nb: 2', problems: [/^2:1: this key/, /^4:1: this key/] },
  { name: 'indentation', text: 'server:\n   port: 1\n  host: ::1', problems: [/^3:1: the indentation/] },
  { name: 'an open bracket', text: 'server: {port: 1', problems: [/^1:17: the indentation does not fit, or a bracket/] },
  { name: 'an open quote', text: `channels:\n  telegram:\n    token: "${SECRET}`, problems: [/^3:\d+: something is missing/] },
  { name: 'no colon', text: `server: {}\n${SECRET}`, problems: [/^2:1: something is missing/] },
  { name: 'a second colon', text: 'a: b: c', problems: [/^1:4: a second colon/] },
  { name: 'a text with @', text: `a: @${SECRET}`, problems: [/^1:4: a text cannot begin/] },
  { name: 'a text with %', text: 'a: %x', problems: [/^1:4: a text cannot begin/] },
  {
    name: 'a text with *',
    text: `channels: { telegram: { token: *${SECRET.replace(':', '-')} } }`,
    problems: [/^1:1: an alias \(\*\) without its anchor/],
  },
  { name: 'two documents', text: 'server: {}\n---\nserver: {}', problems: [/^2:1: a second document/] },
  { name: 'a foreign tag', text: 'server: !!js/function "x"', problems: [/^1:9: a tag/] },
  { name: 'an escape', text: 'a: "C:\\posthouse"', problems: [/^1:\d+: a \\ in double quotes/] },
  { name: 'a list as key', text: '? [a]\n: 1', problems: [/^1:3: a key must be a plain word/] },
  {
    name: 'an alias bomb',
    text: `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [${'*a,'.repeat(9)}]\nc: &c [${'*b,'.repeat(9)}]\nd: [${'*c,'.repeat(9)}]`,
    problems: [/^1:1: aliases \(\*\) make the file too large/],
  },
  { name: 'a list in itself', text: 'server: &a [*a, *a]', problems: [/^1:13 server\.0\.0: nested deeper than 32 levels$/] },
  { name: '10,000 lists', text: 'a: '.concat('['.repeat(10_000)), problems: [/^1:\d+: nested too deep$/] },
  { name: '10,000 lists, closed', text: `a: ${'['.repeat(10_000)}${']'.repeat(10_000)}`, problems: [/^1:\d+: nested too deep$/] },
  {
    name: '40 sections',
    text: Array.from({ length: 40 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n'),
    problems: [/^3:3 a\.a\.a: nested deeper than 32 levels$/],
  },
  { name: 'a merge key', text: 'server: &s {port: 1}\ndatabase:\n  <<: *s', problems: [/^3:3 database\.<<: merge keys/] },
  { name: 'too large', text: `# ${'x'.repeat(257 * 1024)}\nserver: {}`, problems: [/^1:1: larger than 256 KB$/] },
  {
    name: '30,000 values',
    text: `server: [${'1,'.repeat(30_000)}]`,
    problems: [/^1:1: more than 20000 values$/],
  },

  // ---- Shapes
  { name: 'a text', text: 'posthouse', problems: [/^1:1: expected a section with keys, found a text$/] },
  { name: 'a list', text: '- server', problems: [/^1:1: expected a section with keys, found a list$/] },
  { name: 'a section that is a text', text: 'server: here', problems: [/^1:1 server: expected a section with keys, found a text$/] },
  {
    name: 'a section that is a list',
    text: 'resources:\n  - 1',
    problems: [/^1:1 resources: expected a section with keys, found a list$/],
  },
  { name: 'a number that is a text', text: 'server:\n  port: web', problems: [/^2:3 server\.port: expected a number, found a text$/] },
  {
    name: 'a number that is a section',
    text: 'server: { port: {} }',
    problems: [/^1:11 server\.port: expected a number, found a section$/],
  },
  { name: 'not whole', text: 'server: { port: 80.5 }', problems: [/^1:11 server\.port: expected a whole number, found the number 80\.5$/] },
  { name: 'infinite', text: 'resources: { max_waiting: .inf }', problems: [/^1:14 resources\.max_waiting: expected a number/] },
  { name: 'too large a number', text: 'server: { port: 65536 }', problems: [/must be at most 65535, is 65536$/] },
  { name: 'too small a number', text: 'resources: { max_concurrency: 0 }', problems: [/must be at least 1, is 0$/] },
  {
    name: 'a list that is a text',
    text: 'server: { trusted_proxies: 10.0.0.1 }',
    problems: [/^1:11 server\.trusted_proxies: expected a list, found a text$/],
  },
  {
    name: 'an element that is a section',
    text: 'server: { trusted_proxies: [{}] }',
    problems: [/^1:29 server\.trusted_proxies\.0: expected a text, found a section$/],
  },
  {
    name: 'not a choice',
    text: 'assistant: { burst: coalesc }',
    problems: [/"coalesc" is not one of: coalesce, one-by-one\. Did you mean "coalesce"\?$/],
  },
  { name: 'a text that is a truth', text: 'assistant: { instructions: true }', problems: [/expected a text, found the boolean true$/] },

  // ---- Units
  {
    name: 'no unit',
    text: 'resources: { timeout: 30 }',
    problems: [/^1:14 resources\.timeout: expected a duration with a unit \(30s, 5m, 1h\)/],
  },
  { name: 'a unit that is none', text: 'resources: { timeout: 30 sec }', problems: [/expected a duration with a unit/] },
  { name: 'a negative duration', text: 'resources: { timeout: -1s }', problems: [/expected a duration with a unit/] },
  { name: 'a duration that no timer can hold', text: 'resources: { timeout: 25d }', problems: [/must be at most 24d, is 25d$/] },
  { name: 'no time at all', text: 'resources: { timeout: 0s }', problems: [/must be at least 1s, is 0$/] },
  { name: 'a size with a unit of time', text: 'resources: { max_file: 50s }', problems: [/expected a size with a unit \(500KB, 50MB\)/] },
  {
    name: "a model's duration without unit",
    text: `${ENDPOINT}, idle_timeout: 20000 }`,
    problems: [/models\.endpoints\.main\.idle_timeout: expected a duration/],
  },

  // ---- Keys
  { name: 'an unknown section', text: 'sever: {}', problems: [/^1:1 sever: unknown key\. Did you mean "server"\?$/] },
  { name: 'an unknown key', text: 'server:\n  prot: 1', problems: [/^2:3 server\.prot: unknown key\. Did you mean "port"\?$/] },
  { name: 'nothing near', text: 'zebra: 1', problems: [/^1:1 zebra: unknown key\. Known keys: language, server, /] },
  { name: 'two at once', text: 'sever: {}\nmodel: {}', problems: [/^1:1 sever/, /^2:1 model: unknown key\. Did you mean "models"\?$/] },
  { name: '__proto__', text: '__proto__: { polluted: true }', problems: [/^1:1 __proto__: this key is not accepted$/] },
  { name: 'constructor', text: 'constructor: { prototype: {} }', problems: [/^1:1 constructor: unknown key/] },
  { name: '__proto__ of a section', text: 'server: { __proto__: { host: x } }', problems: [/^1:11 server\.__proto__: this key/] },
  {
    name: 'an unknown key of a model',
    text: `${ENDPOINT}, tempratur: 1 }`,
    problems: [/^3:\d+ models\.endpoints\.main\.tempratur: unknown key\. Did you mean "temperature"\?$/],
  },

  // ---- Models
  {
    name: 'no such api',
    text: 'models: { endpoints: { a: { api: opnai } } }',
    problems: [/^1:29 models\.endpoints\.a\.api: there is no api "opnai"\. Did you mean "openai"\?$/],
  },
  { name: 'an api from nowhere', text: 'models: { endpoints: { a: { api: constructor } } }', problems: [/there is no api "constructor"/] },
  { name: 'no api', text: 'models: { endpoints: { a: {} } }', problems: [/^1:24 models\.endpoints\.a: name one of: /] },
  {
    name: 'no model',
    text: 'models: { endpoints: { a: { api: openai } } }',
    problems: [/^1:24 models\.endpoints\.a\.model: missing\. Name of the model/],
  },
  {
    name: 'no such primary',
    text: `${ENDPOINT} }\n  primary: mian`,
    problems: [/^4:3 models\.primary: there is no endpoint "mian"\. Did you mean "main"\?$/],
  },
  {
    name: 'no such fallback',
    text: `${ENDPOINT} }\n  fallback: [main, other]`,
    problems: [/^4:\d+ models\.fallback\.1: there is no endpoint "other"\. Known: main\.$/],
  },
  {
    name: 'endpoints as a list',
    text: 'models: { endpoints: [a] }',
    problems: [/^1:11 models\.endpoints: expected endpoints by name, found a list$/],
  },
  {
    name: 'an address without scheme',
    text: 'models: { endpoints: { a: { api: openai, model: m, base_url: "localhost:8000" } } }',
    problems: [/base_url: expected an address that begins with http/],
  },
  {
    name: 'a key with a space',
    text: `${ENDPOINT}, api_key: "sk-1 2" }`,
    problems: [/models\.endpoints\.main\.api_key: must be one word/],
  },
  {
    name: 'a broken endpoint told once',
    text: `${ENDPOINT}, vision: perhaps }\n  primary: other`,
    problems: [/vision: expected true or false, found a text$/],
  },
  {
    name: 'the field’s models.default',
    text: `${ENDPOINT} }\n  default: mian`,
    problems: [/^4:3 models\.primary: there is no endpoint "mian"/],
  },

  // ---- Server, data, key
  { name: 'a host that is none', text: 'server: { host: "0.0.0" }', problems: [/^1:11 server\.host: expected an address of this machine/] },
  {
    name: 'a proxy that is none',
    text: 'server: { trusted_proxies: [10.0.0.1, 10.0.0.0/33] }',
    problems: [/^1:39 server\.trusted_proxies\.1: expected an address, a network/],
  },
  {
    name: 'private addresses that are none, or all',
    text: 'security: { private_addresses: [10.0.0.0/8, intranet, 0.0.0.0/0, "fe80::1%eth0", "::/0"] }',
    problems: [1, 2, 3, 4].map((index) => new RegExp(`security\\.private_addresses\\.${index}: expected an address or a network`)),
  },
  {
    name: 'a public address without scheme',
    text: 'server: { public_url: example.com }',
    problems: [/public_url: expected an address that begins with/],
  },
  {
    name: 'a public address with a query',
    text: 'server: { public_url: "https://example.com/?a=1" }',
    problems: [/public_url: an address without \? and #/],
  },
  {
    name: 'another database',
    text: 'database: { url: "mysql://x" }',
    problems: [/^1:13 database\.url: "mysql:\/\/x" does not have the expected form/],
  },
  {
    name: 'a mistyped database with a password in it',
    text: 'database: { url: "postgre://u:pw@h/d" }',
    problems: [/^1:13 database\.url: the value does not have the expected form/],
  },
  {
    name: 'a database without a name',
    text: 'database: { url: "postgres://u:pw@h" }',
    problems: [/^1:13 database\.url: expected postgres:\/\/user:password@host\/name$/],
  },
  {
    name: 'a database with its password behind the name',
    text: 'database: { url: "postgres://h/d?password=pw" }',
    problems: [/^1:13 database\.url: user, password and host stand before the name/],
  },
  { name: 'a database that is a folder', text: 'database: { url: "sqlite:." }', problems: [/^1:13 database\.url: this is a folder/] },
  {
    name: 'another broker',
    text: `broker: { url: "kafka://user:${SECRET}@host" }`,
    problems: [/^1:11 broker\.url: the value does not have the expected form/],
  },
  {
    name: 'a broker whose address cannot be read',
    text: `broker: { url: "amqp://user:${SECRET}@ho%st:port" }`,
    problems: [/^1:11 broker\.url: this address cannot be read; in a user and a password write @/],
  },
  {
    name: 'a prefix that is no name',
    text: 'redis: { url: "redis://host", prefix: "a b" }',
    problems: [/^1:31 redis\.prefix: "a b" does not have the expected form/],
  },
  {
    name: 'a Redis whose address cannot be read',
    text: `redis: { url: "redis://:${SECRET}@host:99999999" }`,
    problems: [/^1:10 redis\.url: this address cannot be read/],
  },
  { name: 'a key that is a folder', text: 'security: { key_file: "." }', problems: [/^1:13 security\.key_file: this is a folder/] },

  // ---- Secrets
  {
    name: 'a variable that is not set',
    text: `${ENDPOINT}, api_key: "\${env:NO_SUCH_VARIABLE}" }`,
    problems: [/api_key: the environment variable NO_SUCH_VARIABLE is not set$/],
  },
  {
    name: 'a variable that is empty',
    text: `${ENDPOINT}, api_key: "\${env:EMPTY}" }`,
    problems: [/api_key: the environment variable EMPTY is empty$/],
  },
  {
    name: 'a file that is not there',
    text: `${ENDPOINT}, api_key: "\${file:no/such/file}" }`,
    problems: [/api_key: the file no\/such\/file cannot be read/],
  },
  {
    name: 'another form of reference',
    text: `${ENDPOINT}, api_key: "\${TOKEN}" }`,
    problems: [/api_key: write \$\{env:TOKEN\} to refer to a variable$/],
  },
  {
    name: 'a shell’s form of reference',
    text: `${ENDPOINT}, api_key: $TOKEN }`,
    problems: [/api_key: write \$\{env:TOKEN\} to refer to a variable$/],
  },
  { name: 'a secret in the place of a choice', text: 'assistant: { burst: "${env:TOKEN}" }', problems: [/burst: the value is not one of/] },
  {
    name: 'a secret in the place of a name',
    text: `models: { primary: "${SECRET}" }`,
    problems: [/primary: there is no endpoint the value/],
  },
  {
    name: 'a secret as the name of a variable',
    text: `language: "\${env:${SECRET}}"`,
    problems: [/language: a variable has letters, digits and _ only$/],
  },
  { name: 'a secret as a key', text: `server: { "${SECRET}": 1 }`, problems: [/^1:11 server\.1234…: unknown key/] },

  // ---- Channels: the account stays closed, the rest starts
  { name: 'channels as a list', text: 'channels: [telegram]', problems: [/^1:1 channels: expected accounts by name, found a list$/] },
  {
    name: 'no such channel',
    text: 'channels: { telegrm: { token: x } }',
    problems: [/^1:13 channels\.telegrm: there is no channel "telegrm"\. Did you mean "telegram"\?$/],
    starts: true,
  },
  { name: 'a channel from nowhere', text: 'channels: { constructor: {} }', problems: [/there is no channel "constructor"/], starts: true },
  {
    name: 'a mistyped token',
    text: `channels:\n  telegram:\n    tokn: "${SECRET}"`,
    problems: [/^3:5 channels\.telegram\.tokn: unknown key\. Did you mean "token"\?$/, /^2:3 channels\.telegram\.token: missing\./],
    starts: true,
  },
  {
    name: 'a token that is none',
    text: `channels: { telegram: { token: "x${SECRET}" } }`,
    problems: [/^1:25 channels\.telegram\.token: the value does not have the expected form/],
    starts: true,
  },
  {
    name: 'a webhook without secret',
    text: `channels: { telegram: { token: "${SECRET}", mode: webhook } }`,
    problems: [/channels\.telegram\.secret_token: is required when/],
    starts: true,
  },
  {
    name: 'a mailbox that believes every sender',
    text: 'channels: { email: { address: a@x.org, password: horse, imap: { host: i }, smtp: { host: s } } }',
    problems: [/channels\.email\.authserv_id: is required, since anybody can write any sender/],
    starts: true,
  },
  {
    name: 'a mailbox without all that it needs',
    text: 'channels: { email: { addres: a@x.org, smtp: { hst: s } } }',
    problems: [
      /^1:\d+ channels\.email\.addres: unknown key\. Did you mean "address"\?$/,
      /channels\.email\.address: missing/,
      /channels\.email\.imap: missing/,
      /channels\.email\.imap\.host: missing/,
      /channels\.email\.smtp\.hst: unknown key\. Did you mean "host"/,
      /channels\.email\.smtp\.host: missing/,
    ],
    starts: true,
  },
  {
    name: 'a mail password in the clear, two ways to sign in, and names in capitals',
    text: 'channels: { email: { address: a@x.org, password: horse, oauth: { token_url: "https://x.org", client_id: c, refresh_token: r }, imap: { host: i, security: none }, smtp: { host: s }, trust_sender: true, allowed_users: [Ann@x.org], save_sent: true } }',
    problems: [
      /channels\.email\.password: give either password or oauth/,
      /channels\.email\.imap: security "none" would send the password in the clear/,
      /channels\.email\.allowed_users: write addresses in lower case/,
      /channels\.email\.sent_mailbox: is required with save_sent/,
    ],
    starts: true,
  },
  {
    name: 'half of an OAuth2 sign-in',
    text: 'channels: { email: { address: a@x.org, oauth: { client_id: c }, imap: { host: i }, smtp: { host: s }, trust_sender: true } }',
    problems: [/channels\.email\.oauth: needs token_url, client_id and refresh_token/],
    starts: true,
  },
  {
    name: 'users as a text',
    text: `channels: { telegram: { token: "${SECRET}", allowed_users: "12" } }`,
    problems: [/allowed_users: expected a list, found a text$/],
    starts: true,
  },
  {
    name: 'a user too large to be read',
    text: `channels: { telegram: { token: "${SECRET}", allowed_users: [12345678901234567890] } }`,
    problems: [/allowed_users\.0: this number cannot be read exactly/],
    starts: true,
  },
  {
    name: 'a poll without unit',
    text: `channels: { telegram: { token: "${SECRET}", poll_timeout: 30000 } }`,
    problems: [/poll_timeout: expected a duration/],
    starts: true,
  },
  {
    name: 'a poll that is too long',
    text: `channels: { telegram: { token: "${SECRET}", poll_timeout: 2m } }`,
    problems: [/poll_timeout: must be at most 50s, is 2m$/],
    starts: true,
  },
  { name: 'an empty account', text: 'channels: { telegram: }', problems: [/^1:13 channels\.telegram\.token: missing/], starts: true },
  {
    name: 'an account that is a text',
    text: `channels: { telegram: "${SECRET}" }`,
    problems: [/^1:13 channels\.telegram: expected a section/],
    starts: true,
  },
  {
    name: 'a name with a space',
    text: `channels: { "my bot": { type: telegram, token: "${SECRET}" } }`,
    problems: [/^1:13 channels\.my bot: a name has/],
    starts: true,
  },
  {
    name: 'our own account',
    text: `channels: { web: { type: telegram, token: "${SECRET}" } }`,
    problems: [/channels\.web: "web" is an account of our own/],
    starts: true,
  },
  {
    name: 'our other account',
    text: `channels: { api: { type: telegram, token: "${SECRET}" } }`,
    problems: [/channels\.api: "api" is an account/],
    starts: true,
  },
  {
    name: 'the field’s platforms',
    text: `platforms:\n  - type: telegram\n    config:\n      tokn: "${SECRET}"`,
    problems: [/^4:7 channels\.telegram\.tokn: unknown key/, /^2:5 channels\.telegram\.token: missing/],
    starts: true,
  },
  {
    name: 'a platform that is a name',
    text: 'platforms: [telegram]',
    problems: [/^1:13 channels\.telegram\.token: missing/],
    starts: true,
  },
  {
    name: 'a token whose variable is not set',
    text: 'channels: { telegram: { token: "${env:NO_SUCH_VARIABLE}" } }',
    problems: [/^1:25 channels\.telegram\.token: the environment variable NO_SUCH_VARIABLE is not set$/],
    starts: true,
  },
  {
    name: 'a platform whose variable is not set',
    text: 'platforms: [{ name: telegram, config: { token: "${env:NO_SUCH_VARIABLE}" } }]',
    problems: [/^1:41 platforms\.0\.config\.token: the environment variable/],
    starts: true,
  },
]
