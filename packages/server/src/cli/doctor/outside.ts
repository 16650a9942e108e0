/** The servers beside the gateway, asked from here. Without one it works on, so none of them fails the whole. */
import { probeRabbit } from '../../broker/index.ts'
import { probeRedis } from '../../cluster/index.ts'
import type { Config } from '../../config/index.ts'
import { outsideNames } from '../../ports/outside.ts'
import { type Check, check, ok, warn } from './finding.ts'

export function checkOutside({ broker, redis }: Config): Check[] {
  const { url: amqp } = broker
  const { url: redisUrl } = redis
  return [
    ...(amqp === undefined ? [] : [asked('broker', () => askBroker(amqp, broker.prefix))]),
    ...(redisUrl === undefined ? [] : [asked('redis', () => askRedis(redisUrl))]),
  ]
}

function asked(name: 'broker' | 'redis', ask: () => Promise<ReturnType<typeof ok>>): Check {
  return check('outside', name, async () => {
    try {
      return await ask()
    } catch (error) {
      const { message, code } = error as Error & { code?: string }
      const reason = message || code || 'no answer'
      const { en, zh } = outsideNames[name]
      return warn(`${en} does not serve us: ${reason}`, `${zh}不可用：${reason}`, `posthouse config explain ${name}.url`)
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
