/** The commands. Each is loaded only when it is called, so that help and version answer at once. */
import { Command } from 'commander'
import { version } from '../version.ts'

export async function run(args: readonly string[]): Promise<void> {
  const program = new Command('posthouse')
    .description('Self-hosted AI assistant gateway')
    .version(version)
    .option('-c, --config <path>', 'configuration file (default: posthouse.yaml here, or POSTHOUSE_CONFIG)')
  program
    .command('start')
    .description('run the gateway')
    .action(async () => {
      const { start } = await import('./start.ts')
      await start(program.opts<{ config?: string }>().config)
    })
  await program.parseAsync([...args], { from: 'user' })
}
