/** The servers beside the gateway, asked from here. Without one it works on, so none of them fails the whole. */
import { probeRabbit } from '../../broker/index.ts'
import { findNodes, probeRedis } from '../../cluster/index.ts'
import type { Config } from '../../config/index.ts'
import { causeOf, type OutsideName, outsideNames } from '../../ports/outside.ts'
import { createFetch } from '../../security/index.ts'
import { type Check, check, ok, warn } from './finding.ts'

export function checkOutside({ broker, redis, discovery }: Config): Check[] {
  const { url: amqp } = broker
  const { url: redisUrl } = redis
  const { url: endpoint, prefix } = discovery
  return [
    ...(amqp === undefined ? [] : [asked('broker', () => askBroker(amqp, broker.prefix))]),
    ...(redisUrl === undefined ? [] : [asked('redis', () => askRedis(redisUrl))]),
    ...(endpoint === undefined ? [] : [asked('discovery', () => askEtcd(endpoint, prefix))]),
  ]
}

function asked(name: OutsideName, ask: () => Promise<ReturnType<typeof ok>>): Check {
  return check('outside', name, async () => {
    try {
      return await ask()
    } catch (error) {
      const { message, code } = error as Error & { code?: string }
      const reason = message || code || 'no answer'
      const cause = causeOf(name, error) ?? { en: reason, zh: reason }
      const { en, zh } = outsideNames[name]
      return warn(
        `${en} does not serve us: ${cause.en}`,
        `${zh}不可用：${cause.zh}`,
        `posthouse config explain ${name}.${name === 'discovery' ? 'endpoint' : 'url'}`,
      )
    }
  })
}

async function askBroker(url: string, prefix: string) {
  const { waiting } = await probeRabbit({ url, prefix })
  return ok(`answers; ${waiting} tickets wait`, `有响应；${waiting} 张任务票等待中`)
}

async function askRedis(url: string) {
  const { version } = await probeRedis(url)
  return ok(`answers, version ${version}`, `有响应，版本 ${version}`)
}

async function askEtcd(endpoint: string, prefix: string) {
  await using client = createFetch()
  const nodes = await findNodes({ endpoint, prefix, fetch: client.fetch })
  return ok(`answers; nodes announced: ${nodes.length}`, `有响应；已登记节点数：${nodes.length}`)
}
