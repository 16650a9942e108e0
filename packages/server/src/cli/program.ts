/** The commands. Each is loaded only when it is called, so that help and version answer at once. */
import { Command, CommanderError } from 'commander'
import { version } from '../version.ts'
import { type CliError, createTerminal, type Terminal } from './terminal.ts'

export interface Call {
  /** Path of the configuration, as given. */
  readonly config: string | undefined
  readonly terminal: Terminal
}

type Action = (call: Call, args: readonly string[], options: Readonly<Record<string, string | boolean | undefined>>) => Promise<void>

interface CommandSpec {
  readonly name: string
  /** Arguments as commander writes them: `<required> [optional]`. */
  readonly args?: string
  readonly description: string
  readonly options?: readonly (readonly [flags: string, description: string])[]
  readonly load: () => Promise<Action>
}

/** Every command, as data; docs/reference/commands.md lists the same, a test compares them. */
export const commandTable: readonly CommandSpec[] = [
  { name: 'start', description: 'run the gateway', load: async () => (await import('./start.ts')).start },
  {
    name: 'init',
    description: 'set up: language, account, model, first channel',
    options: [
      ['--language <code>', 'en or zh'],
      ['--name <name>', 'name of the first account'],
      ['--password-file <path>', 'file with its password'],
      ['--model-api <api>', 'wire format of the model: openai, anthropic or demo'],
      ['--base-url <url>', 'address of the model'],
      ['--api-key <key>', 'its key; `env:NAME` refers to a variable'],
      ['--model <name>', 'its name at the provider'],
      ['--telegram-token <token>', 'token of a Telegram bot; `env:NAME` refers to a variable'],
      ['--telegram-api-root <url>', 'address of the Bot API, if it is not the public one'],
      ['--allowed-users <ids>', 'who may talk to it, separated by commas'],
      ['--skip-tests', 'write the file without asking model and channel'],
      ['--force', 'replace an existing configuration (a copy is kept)'],
    ],
    load: async () => (await import('./init.ts')).init,
  },
  { name: 'doctor', description: 'look for problems, and say how to solve them', load: async () => (await import('./doctor.ts')).doctor },
  { name: 'status', description: 'how everything does', load: async () => (await import('./status.ts')).status },
  {
    name: 'send',
    args: '<account> <room> <text>',
    description: 'write to a room as the assistant',
    options: [
      ['--thread <id>', 'thread within the room'],
      ['--group', 'the room is a group'],
    ],
    load: async () => (await import('./send.ts')).send,
  },
  {
    name: 'token create',
    description: 'make a token for a program',
    options: [
      ['--name <name>', 'what it is for'],
      ['--scopes <scopes>', 'chat, admin, metrics; separated by commas (default: chat)'],
      ['--expires <duration>', 'for example 2h or 90d (default: 90d)'],
      ['--user <name>', 'whom it speaks for (default: the first account)'],
    ],
    load: async () => (await import('./token.ts')).createToken,
  },
  { name: 'token list', description: 'tokens that were made', load: async () => (await import('./token.ts')).listTokens },
  { name: 'token revoke', args: '<id>', description: 'make a token void', load: async () => (await import('./token.ts')).revokeToken },
  {
    name: 'user password',
    args: '<name>',
    description: 'set a new password',
    options: [['--password-file <path>', 'file with the password']],
    load: async () => (await import('./user.ts')).setPassword,
  },
  { name: 'config check', description: 'check the configuration', load: async () => (await import('./config.ts')).checkConfig },
  { name: 'config schema', description: 'print its JSON Schema', load: async () => (await import('./config.ts')).printSchema },
  {
    name: 'config explain',
    args: '[key]',
    description: 'what a key means and what it is now',
    load: async () => (await import('./config.ts')).explainConfig,
  },
  { name: 'channel list', description: 'accounts that are configured', load: async () => (await import('./channel.ts')).listChannels },
  {
    name: 'channel test',
    args: '<account>',
    description: 'ask the platform whether it knows us',
    load: async () => (await import('./channel.ts')).testChannel,
  },
  { name: 'model list', description: 'endpoints that are configured', load: async () => (await import('./model.ts')).listModels },
  {
    name: 'model test',
    args: '[endpoint]',
    description: 'ask a model a question',
    load: async () => (await import('./model.ts')).testModel,
  },
  {
    name: 'model switch',
    args: '<endpoint>',
    description: 'use another model from now on',
    load: async () => (await import('./model.ts')).switchModel,
  },
  { name: 'dead list', description: 'messages and deliveries that wait for you', load: async () => (await import('./dead.ts')).listDead },
  { name: 'dead retry', args: '<id...>', description: 'let them go again', load: async () => (await import('./dead.ts')).retryDead },
  { name: 'dead drop', args: '<id...>', description: 'give them up', load: async () => (await import('./dead.ts')).dropDead },
  {
    name: 'emulate',
    args: '<platform>',
    description: 'play a platform for tests: telegram or model',
    options: [
      ['--port <port>', 'port to listen on (default: any)'],
      ['--token <token>', 'token that the emulated Telegram accepts'],
    ],
    load: async () => (await import('./emulate.ts')).emulate,
  },
]

const groups: Readonly<Record<string, string>> = {
  token: 'tokens for programs',
  user: 'people who sign in',
  config: 'the configuration',
  channel: 'chat tools',
  model: 'models',
  dead: 'dead letters',
}

export async function run(args: readonly string[]): Promise<void> {
  const program = new Command('posthouse')
    .description('Self-hosted AI assistant gateway. 自托管 AI 助手网关。')
    .version(version)
    .option('-c, --config <path>', 'configuration file (default: posthouse.yaml here, or POSTHOUSE_CONFIG)')
    .option('--json', 'answer in JSON')
    .exitOverride()
    .showHelpAfterError('Run with --help for the commands.')
    .addHelpText('after', '\nExamples:\n  posthouse start\n  posthouse init\n  posthouse token create --name laptop --scopes chat')
  const parents = new Map<string, Command>()
  for (const spec of commandTable) add(program, parents, spec)
  try {
    await program.parseAsync([...args], { from: 'user' })
  } catch (error) {
    process.exitCode = fail(error, args.includes('--json'))
  }
}

function add(program: Command, parents: Map<string, Command>, spec: CommandSpec): void {
  const [first = '', second] = spec.name.split(' ')
  let parent = program
  if (second) {
    parent =
      parents.get(first) ??
      program
        .command(first)
        .description(groups[first] ?? '')
        .exitOverride()
    parents.set(first, parent)
  }
  const command = parent
    .command(`${second ?? first}${spec.args ? ` ${spec.args}` : ''}`)
    .description(spec.description)
    .option('--json', 'answer in JSON')
    .exitOverride()
  for (const [flags, description] of spec.options ?? []) command.option(flags, description)
  command.action(async () => {
    const options = command.optsWithGlobals<Record<string, string | boolean | undefined>>()
    const action = await spec.load()
    const { languageFor } = await import('./local.ts')
    const config = options.config as string | undefined
    const terminal = createTerminal(languageFor(config), options.json === true)
    await action(
      { config, terminal },
      command.processedArgs.flat().filter((arg): arg is string => typeof arg === 'string'),
      options,
    )
  })
}

/** Says what went wrong; answers the exit code. */
function fail(error: unknown, json: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  const { message, exitCode = 1, next } = error as Partial<CliError> & Error
  if (json) process.stdout.write(`${JSON.stringify({ error: message })}\n`)
  else process.stderr.write(`${message}${next ? `\nNext: ${next}` : ''}\n`)
  return exitCode
}
