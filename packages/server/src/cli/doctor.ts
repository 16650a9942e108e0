/** `posthouse doctor`: everything that can be looked at from here, each finding with its remedy. Nothing is changed. */
import type { Call } from './call.ts'
import { checkConfiguration, checkDatabase, checkKeyFile } from './doctor/data.ts'
import { type Check, type Finding, groups, type State, worst } from './doctor/finding.ts'
import { checkHost } from './doctor/host.ts'
import { checkChannels, checkGateway, checkModels, checkPauses } from './doctor/network.ts'
import { checkOutside } from './doctor/outside.ts'
import { checkTools } from './doctor/tools.ts'
import { loadHere } from './local.ts'
import { asCalled, type Words } from './terminal.ts'

/** Longest wait for one check; all run at the same time. */
const PATIENCE = 20_000

export async function doctor({ config: given, terminal }: Call): Promise<void> {
  const { t } = terminal
  const loaded = loadHere(given)
  const { config } = loaded
  const checks: Check[] = [checkConfiguration(loaded), ...checkHost(config)]
  if (config)
    checks.push(
      ...checkDatabase(config),
      ...checkKeyFile(config),
      ...checkOutside(config),
      ...checkModels(config),
      ...checkChannels(config),
      ...(config.accounts.length > 0 ? [checkPauses({ config, loaded, terminal })] : []),
      ...checkTools({ config, loaded, terminal }),
      checkGateway(config),
    )
  const findings = (await Promise.all(checks.map((check) => within(check, PATIENCE)))).flat()
  const state = worst(findings)
  process.exitCode = state === 'fail' ? 1 : 0
  const shown = findings.map(({ remedy, cause, ...finding }) => ({
    ...finding,
    cause: t(cause),
    ...(remedy === undefined ? {} : { remedy: asCalled(typeof remedy === 'string' ? remedy : t(remedy)) }),
  }))
  const lines = groups.flatMap(({ id, name }) => {
    const own = shown.filter(({ group }) => group === id)
    return own.length === 0 ? [] : [`${t(name)}`, ...own.map(lineOf), '']
  })
  const count = (wanted: State) => findings.filter((finding) => finding.state === wanted).length
  const summary = `${count('ok')} ${t({ en: 'ok', zh: '项正常' })}, ${count('warn')} ${t({ en: 'to look at', zh: '项需留意' })}, ${count('fail')} ${t({ en: 'failed', zh: '项失败' })}`
  const first = shown.find((finding) => finding.state === state && finding.remedy)?.remedy
  const next = state !== 'ok' && first?.startsWith('posthouse ') ? first : 'posthouse status'
  terminal.result({ state, findings: shown }, [...lines, summary].join('\n'), state === 'fail' && first ? undefined : next)
}

const MARKS: Readonly<Record<State, string>> = { ok: '✓', warn: '!', fail: '✗' }

function lineOf({ state, name, cause, remedy }: { state: State; name: string; cause: string; remedy?: string }): string {
  const line = `  ${MARKS[state]} ${name}: ${cause}`
  return remedy === undefined || state === 'ok' ? line : `${line}\n      → ${remedy}`
}

/** A check that throws or hangs is a finding itself, and holds no other. */
async function within({ group, name, run }: Check, patience: number): Promise<readonly Finding[]> {
  const late = Promise.withResolvers<readonly Finding[]>()
  const finding = (cause: Words): Finding => ({ group, name, state: 'fail', cause })
  const timer = setTimeout(
    () => late.resolve([finding({ en: `no answer within ${patience / 1000} s`, zh: `${patience / 1000} 秒内无响应` })]),
    patience,
  )
  try {
    return await Promise.race([run(AbortSignal.timeout(patience)), late.promise])
  } catch (error) {
    const { message } = error as Error
    return [finding({ en: message, zh: message })]
  } finally {
    clearTimeout(timer)
  }
}
