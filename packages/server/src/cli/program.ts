/** From the command line to a command. */
import { Command, CommanderError, type Command as CommandType } from 'commander'
import { version } from '../version.ts'
import { type CommandSpec, commandGroups, commandTable, globalOptions } from './commands.ts'
import { endWithReport } from './crash.ts'
import { findLanguage, type Language } from './language.ts'
import { type CliError, createTerminal, nextLine, type Words } from './terminal.ts'
import { titles, translateUsage } from './usage.ts'

export async function run(args: readonly string[]): Promise<void> {
  const language = findLanguage(configOf(args), process.env, process.cwd())
  endWithReport(language)
  const json = args.includes('--json')
  // A reader that has seen enough (`| head`) is no failure; a gateway goes on without the reader of its log.
  process.stdout.on('error', () => {
    if (args[0] !== 'start') process.exit()
  })
  const program = buildProgram(language)
  try {
    if (args.length === 0) program.outputHelp()
    else await program.parseAsync([...args], { from: 'user' })
  } catch (error) {
    process.exitCode = fail(error, language, json)
  }
}

/** The value of --config, before anything is parsed: errors of parsing have a language, too. */
function configOf(args: readonly string[]): string | undefined {
  const at = args.findIndex((arg) => arg === '-c' || arg === '--config')
  return at >= 0 ? args[at + 1] : args.find((arg) => arg.startsWith('--config='))?.slice('--config='.length)
}

function buildProgram(language: Language): CommandType {
  const t = (words: Words) => words[language]
  const program = prepare(new Command('posthouse'), language)
    .description(t({ en: 'Self-hosted AI assistant gateway.', zh: '自托管 AI 助手网关。' }))
    .version(version, '-V, --version', t({ en: 'show the version', zh: '显示版本' }))
    .option(globalOptions.config[0], t(globalOptions.config[1]))
    .option(globalOptions.json[0], t(globalOptions.json[1]))
    .addHelpText(
      'after',
      `\n${t(titles.examples)}\n  posthouse start\n  posthouse init\n  posthouse token create --name laptop --scopes chat\n\n${t({ en: 'Commands in full', zh: '完整说明' })}: docs/reference/commands${language === 'zh' ? '.zh' : ''}.md`,
    )
  const parents = new Map<string, CommandType>()
  for (const spec of commandTable) add(program, parents, spec, language)
  return program
}

/** Help in the person's language; what is wrong is told by {@link fail}, once. */
function prepare(command: CommandType, language: Language): CommandType {
  const t = (words: Words) => words[language]
  return command
    .exitOverride()
    .helpOption('-h, --help', t({ en: 'show this help', zh: '显示帮助' }))
    .configureOutput({ outputError: () => {} })
    .configureHelp({
      styleTitle: (title) => t(titles[title.replace(':', '').toLowerCase() as keyof typeof titles] ?? { en: title, zh: title }),
    })
}

function add(program: CommandType, parents: Map<string, CommandType>, spec: CommandSpec, language: Language): void {
  const t = (words: Words) => words[language]
  const [first = '', second] = spec.name.split(' ')
  const parent = second ? (parents.get(first) ?? group(program, first, language)) : program
  if (second) parents.set(first, parent)
  const command = prepare(parent.command(`${second ?? first}${spec.args ? ` ${spec.args}` : ''}`), language)
    .description(t(spec.description))
    .option(globalOptions.config[0], t(globalOptions.config[1]))
    .option(globalOptions.json[0], t(globalOptions.json[1]))
  for (const [flags, description] of spec.options ?? []) command.option(flags, t(description))
  command.action(async () => {
    const options = command.optsWithGlobals<Record<string, string | boolean | undefined>>()
    const action = await spec.load()
    await action(
      { config: options.config as string | undefined, terminal: createTerminal(language, options.json === true) },
      command.processedArgs.flat().filter((arg): arg is string => typeof arg === 'string'),
      options,
    )
  })
}

function group(program: CommandType, name: string, language: Language): CommandType {
  const known = commandGroups[name]
  return prepare(program.command(name), language)
    .description(known?.[language] ?? '')
    .helpCommand(false)
}

/** Says what went wrong; answers the exit code. */
function fail(error: unknown, language: Language, json: boolean): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0 || error.code === 'commander.help') return error.exitCode === 0 ? 0 : 2
    tell(translateUsage(error, language), language, json, 'posthouse --help')
    return 2
  }
  const { message, exitCode = 1, next, stack } = error as Partial<CliError> & Error
  tell(message, language, json, next)
  if (process.env.AI_DEBUG === 'true') process.stderr.write(`${stack}\n`)
  return exitCode
}

function tell(message: string, language: Language, json: boolean, next: string | undefined): void {
  if (json) process.stdout.write(`${JSON.stringify({ error: message, ...(next ? { next } : {}) })}\n`)
  else process.stderr.write(`${message}${nextLine(language, next)}\n`)
}
