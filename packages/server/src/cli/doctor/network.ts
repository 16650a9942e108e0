/** What is asked over the network: models, platforms, the running gateway. */
import type { AccountConfig, Config } from '../../config/index.ts'
import { type OutsideName, outsideNames } from '../../ports/outside.ts'
import { pausesBeside, probeAccount } from '../channel.ts'
import { addressOf, askGateway, type Local } from '../local.ts'
import { askModel } from '../model.ts'
import { type Check, check, type Finding, fail, ok, warn } from './finding.ts'

export function checkModels({ models: { endpoints, primary } }: Config): Check[] {
  if (endpoints.every(({ provider }) => provider.id === 'demo'))
    return [check('models', 'demo', () => warn('only the built-in demo answers', '仅由内置演示模型回答', 'posthouse init'))]
  return endpoints.map((endpoint) =>
    check('models', endpoint.id, async (signal) => {
      const role = endpoint.id === primary ? { en: ' (primary)', zh: '（首选）' } : { en: '', zh: '' }
      try {
        const { firstToken, total } = await askModel(endpoint, signal)
        return ok(
          `answers after ${firstToken} ms, done after ${total} ms${role.en}`,
          `首个输出 ${firstToken} ms，完成 ${total} ms${role.zh}`,
        )
      } catch (error) {
        const { message } = error as Error
        return fail(`${message}${role.en}`, `${message}${role.zh}`, `posthouse config explain models.endpoints.${endpoint.id}`)
      }
    }),
  )
}

export function checkChannels({ accounts, server: { publicUrl } }: Config): Check[] {
  return accounts.map((account) => ({
    group: 'channels',
    name: account.id,
    async run(signal) {
      const finding = (rest: Pick<Finding, 'state' | 'cause' | 'remedy'>): Finding => ({ group: 'channels', name: account.id, ...rest })
      return [finding(await probed(account, signal)), ...warningsOf(account, publicUrl).map(finding)]
    },
  }))
}

async function probed(account: AccountConfig, signal: AbortSignal) {
  try {
    const us = await probeAccount(account, signal)
    if (!us) return ok('the settings hold; this platform cannot be asked who we are', '设置有效；该平台无法查询我们的身份')
    const { name, id } = us
    return ok(`the platform knows us as ${name} (${id})`, `平台识别我们为 ${name}（${id}）`)
  } catch (error) {
    const { message } = error as Error
    return fail(message, message, `posthouse config explain channels.${account.id}`)
  }
}

function warningsOf({ id, settings, allowedUsers }: AccountConfig, publicUrl: string | undefined) {
  const found: ReturnType<typeof warn>[] = []
  if (settings.mode === 'webhook' && publicUrl === undefined)
    found.push(
      fail('webhooks need an address under which the platform reaches us', 'webhook 需要平台能访问到的地址', {
        en: 'set server.public_url, or mode: polling',
        zh: '设置 server.public_url，或改为 mode: polling',
      }),
    )
  if (allowedUsers === undefined)
    found.push(
      warn('anybody may talk to it, at your cost', '任何人都可以与其对话，费用由你承担', {
        en: `set channels.${id}.allowed_users`,
        zh: `设置 channels.${id}.allowed_users`,
      }),
    )
  return found
}

interface Ready {
  readonly status?: string
  readonly problems?: readonly string[]
  readonly degraded?: readonly { readonly server: OutsideName }[]
}

/** What was paused on purpose, and is easily forgotten. */
export function checkPauses(local: Local): Check {
  return check('channels', 'paused', async () => {
    const since = await pausesBeside(local)
    const paused = local.config.accounts.flatMap(({ id }) => (since(id) === undefined ? [] : [id]))
    if (paused.length === 0) return ok('no account is paused', '没有暂停的账号')
    return warn(`${paused.join(', ')}: nothing is received or sent`, `${paused.join('、')}：已暂停收发`, 'posthouse channel resume --all')
  })
}

export function checkGateway(config: Config): Check {
  return check('gateway', 'running', async () => {
    const ready = (await askGateway({ config }, '/readyz')) as Ready | undefined
    if (ready === undefined) return warn('it does not run', '未运行', 'posthouse start')
    if (ready.status === 'ready' && ready.degraded?.length)
      return warn(
        `runs at ${addressOf(config)} and does without: ${ready.degraded.map(({ server }) => outsideNames[server].en).join(', ')}`,
        `运行于 ${addressOf(config)}，但暂缺：${ready.degraded.map(({ server }) => outsideNames[server].zh).join('、')}`,
        'posthouse status',
      )
    if (ready.status === 'ready') return ok(`runs at ${addressOf(config)} and is ready`, `运行于 ${addressOf(config)}，已就绪`)
    const why = (ready.problems ?? []).join('; ')
    return fail(`runs and is not ready: ${why}`, `已运行但未就绪：${why}`, 'posthouse status')
  })
}
