/** `posthouse emulate`: play a platform on this machine, for trying things out and for tests. */
import { once } from 'node:events'
import type { Bilingual } from '@posthouse/contract'
import {
  createMcpEmulator,
  runMcpProgram,
  startDingtalkEmulator,
  startDiscordEmulator,
  startFeishuEmulator,
  startModelEmulator,
  startSlackEmulator,
  startTelegramEmulator,
  startWecomEmulator,
} from '@posthouse/testkit'
import type { Call } from './call.ts'
import { CliError } from './terminal.ts'

const HOST = '127.0.0.1'
const DISCORD_TOKEN = 'emulated.token.for_this_machine_only'
const TELEGRAM_TOKEN = '123456789:emulated_token_for_this_machine_only'

/** A running emulator, and what the person who started it wants to know. */
interface Emulated extends AsyncDisposable {
  readonly name: Bilingual
  /** For programs. */
  readonly result: Readonly<Record<string, string>> & { readonly url: string }
  /** What to write into posthouse.yaml. */
  readonly yaml: string
  /** What to try next. */
  readonly next: string
}

interface Wanted {
  readonly port: number
  readonly token: string | undefined
}

/** One row for each platform. */
const platforms: Readonly<Record<string, (wanted: Wanted) => Promise<Emulated>>> = {
  async telegram({ port, token = TELEGRAM_TOKEN }) {
    const emulator = await startTelegramEmulator({ host: HOST, port, token })
    const { url } = emulator
    return {
      name: { en: 'Telegram', zh: 'Telegram' },
      result: { url, token },
      yaml: `channels:\n  telegram: { token: "${token}", api_root: "${url}" }\n`,
      next: `curl -d '{"text":"hello","chat":1001}' ${url}/control/say; curl ${url}/control/posted`,
      [Symbol.asyncDispose]: () => emulator[Symbol.asyncDispose](),
    }
  },
  async feishu({ port }) {
    const emulator = await startFeishuEmulator({ host: HOST, port })
    const { url, app_id, app_secret } = emulator
    return {
      name: { en: 'Feishu', zh: '飞书' },
      result: { url, app_id, app_secret },
      yaml: `channels:\n  feishu: { app_id: "${app_id}", app_secret: "${app_secret}", base_url: "${url}" }\n`,
      next: `curl -d '{"text":"hello","from":"ou_ann"}' ${url}/control/say; curl ${url}/control/posted`,
      [Symbol.asyncDispose]: () => emulator[Symbol.asyncDispose](),
    }
  },
  async dingtalk({ port }) {
    const emulator = await startDingtalkEmulator({ host: HOST, port })
    const { url, client_id, client_secret, card_template_id } = emulator
    const settings = { client_id, client_secret, base_url: url, old_base_url: url, card_template_id }
    const lines = Object.entries(settings).map(([name, value]) => `    ${name}: "${value}"\n`)
    return {
      name: { en: 'DingTalk', zh: '钉钉' },
      result: { url, client_id, client_secret, card_template_id },
      yaml: `channels:\n  dingtalk:\n${lines.join('')}`,
      next: `curl -d '{"text":"hello","from":"ann"}' ${url}/control/say; curl ${url}/control/posted`,
      [Symbol.asyncDispose]: () => emulator[Symbol.asyncDispose](),
    }
  },
  async discord({ port, token = DISCORD_TOKEN }) {
    const emulator = await startDiscordEmulator({ host: HOST, port, token })
    const { url, publicKey } = emulator
    const control = `${new URL(url).origin}/control`
    return {
      name: { en: 'Discord', zh: 'Discord' },
      result: { url, token, public_key: publicKey },
      yaml: `channels:\n  discord: { token: "${token}", base_url: "${url}" }\n`,
      next: `curl -d '{"text":"hello","from":"1001"}' ${control}/say; curl ${control}/posted`,
      [Symbol.asyncDispose]: () => emulator[Symbol.asyncDispose](),
    }
  },
  async slack({ port }) {
    const emulator = await startSlackEmulator({ host: HOST, port })
    const { url, botToken, appToken } = emulator
    const control = url.replace(/\/api$/, '/control')
    return {
      name: { en: 'Slack', zh: 'Slack' },
      result: { url, bot_token: botToken, app_token: appToken, signing_secret: emulator.signingSecret },
      yaml: `channels:\n  slack: { bot_token: "${botToken}", app_token: "${appToken}", base_url: "${url}" }\n`,
      next: `curl -d '{"text":"hello","from":"U0ANN"}' ${control}/say; curl ${control}/posted`,
      [Symbol.asyncDispose]: () => emulator[Symbol.asyncDispose](),
    }
  },
  /** People speak to the bot: it needs no address of ours. */
  async wecom({ port }) {
    const emulator = await startWecomEmulator({ host: HOST, port, mode: 'bot' })
    const { url, ws_url, bot_id, secret } = emulator
    return {
      name: { en: 'WeCom', zh: '企业微信' },
      result: { url, ws_url, bot_id, secret },
      yaml: `channels:\n  wecom: { mode: bot, bot_id: "${bot_id}", secret: "${secret}", ws_url: "${ws_url}", base_url: "${url}" }\n`,
      next: `curl -d '{"text":"hello","from":"ann"}' ${url}/control/say; curl ${url}/control/posted`,
      [Symbol.asyncDispose]: () => emulator[Symbol.asyncDispose](),
    }
  },
  async mcp({ port }) {
    const emulator = await createMcpEmulator({ host: HOST, port })
    const { url } = emulator
    const control = url.replace(/mcp$/, 'control')
    return {
      name: { en: 'server of tools (MCP)', zh: '工具服务器（MCP）' },
      result: { url },
      yaml: `mcp:\n  emulated: { url: "${url}" }\nsecurity: { private_addresses: [${HOST}] }\n`,
      next: `curl -d '{"faults":[{"at":"call","kind":"hang"}]}' ${control}/play; curl ${control}/ledger`,
      [Symbol.asyncDispose]: () => emulator[Symbol.asyncDispose](),
    }
  },
  async model({ port }) {
    const emulator = await startModelEmulator({ host: HOST, port })
    const { url } = emulator
    return {
      name: { en: 'model', zh: '模型' },
      result: { url },
      yaml: `models:\n  endpoints:\n    emulated: { api: openai, base_url: "${url}/v1", api_key: any, model: any }\n`,
      next: 'posthouse model test',
      [Symbol.asyncDispose]: () => emulator[Symbol.asyncDispose](),
    }
  },
}

export async function emulate(
  { terminal }: Call,
  [platform = '']: readonly string[],
  options: Readonly<Record<string, string | boolean | undefined>>,
): Promise<void> {
  // As a program it says nothing but the protocol.
  if (platform === 'mcp' && options.stdio === true) return await runMcpProgram(undefined)
  const port = Number(options.port ?? 0)
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new CliError(
      terminal.t({ en: '--port: a number from 0 to 65535 is expected.', zh: '--port：应为 0 到 65535 之间的数字。' }),
      2,
      'posthouse emulate --help',
    )
  const start = Object.hasOwn(platforms, platform) ? platforms[platform] : undefined
  if (!start) {
    const known = Object.keys(platforms)
    throw new CliError(
      terminal.t({
        en: `There is no emulator "${platform}". Known: ${known.join(', ')}.`,
        zh: `没有“${platform}”的模拟器。可用：${known.join('、')}。`,
      }),
      2,
      'posthouse emulate --help',
    )
  }
  const stopped = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
  await using emulated = await start({ port, token: typeof options.token === 'string' ? options.token : undefined })
  const { en, zh } = emulated.name
  const words = terminal.t({ en: `An emulated ${en} runs at`, zh: `模拟的 ${zh} 运行于` })
  terminal.result(emulated.result, `${words} ${emulated.result.url}\n\n${emulated.yaml}`, emulated.next)
  await stopped
}
