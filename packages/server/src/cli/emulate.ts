/** `posthouse emulate`: play a platform on this machine, for trying things out and for tests. */
import { once } from 'node:events'
import { startModelEmulator, startTelegramEmulator } from '@posthouse/testkit'
import type { Call } from './call.ts'
import { CliError } from './terminal.ts'

const HOST = '127.0.0.1'

export async function emulate(
  { terminal }: Call,
  [platform = '']: readonly string[],
  options: Readonly<Record<string, string | boolean | undefined>>,
): Promise<void> {
  const port = Number(options.port ?? 0)
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new CliError(
      terminal.t({ en: '--port: a number from 0 to 65535 is expected.', zh: '--port：应为 0 到 65535 之间的数字。' }),
      2,
      'posthouse emulate --help',
    )
  const stopped = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
  if (platform === 'telegram') {
    const token = typeof options.token === 'string' ? options.token : '123456789:emulated_token_for_this_machine_only'
    await using emulator = await startTelegramEmulator({ host: HOST, port, token })
    terminal.result(
      { url: emulator.url, token },
      `${terminal.t({ en: 'An emulated Telegram runs at', zh: '模拟的 Telegram 运行于' })} ${emulator.url}\n\nchannels:\n  telegram: { token: "${token}", api_root: "${emulator.url}" }\n`,
      `curl -d '{"text":"hello","chat":1001}' ${emulator.url}/control/say; curl ${emulator.url}/control/posted`,
    )
    await stopped
  } else if (platform === 'model') {
    await using emulator = await startModelEmulator({ host: HOST, port })
    terminal.result(
      { url: emulator.url },
      `${terminal.t({ en: 'An emulated model runs at', zh: '模拟的模型运行于' })} ${emulator.url}\n\nmodels:\n  endpoints:\n    emulated: { api: openai, base_url: "${emulator.url}/v1", api_key: any, model: any }\n`,
      'posthouse model test',
    )
    await stopped
  } else
    throw new CliError(
      terminal.t({
        en: `There is no emulator "${platform}". Known: telegram, model.`,
        zh: `没有“${platform}”的模拟器。可用：telegram、model。`,
      }),
      2,
      'posthouse emulate --help',
    )
}
