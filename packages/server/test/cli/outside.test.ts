/** What doctor and the log say of servers beside us that refuse: the cause and the remedy, in one line, and no secret. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { describe, it } from 'node:test'
import { noRabbit, noRedis, ownPrefix, skipWithout, startRedis } from '../cluster/servers.ts'
import { createPosthouse, until } from '../journeys/posthouse.ts'

const rabbit = new URL(process.env.POSTHOUSE_TEST_RABBITMQ ?? 'amqp://guest:guest@127.0.0.1:5672')
const mayManage = spawnSync('rabbitmqctl', ['-q', 'list_users'], { stdio: 'ignore' }).status === 0

const at = (change: (url: URL) => void) => {
  const url = new URL(rabbit)
  change(url)
  return url.href
}

/** What doctor says of the broker. */
async function doctorOf(config: object): Promise<string> {
  await using posthouse = createPosthouse(config)
  return (await posthouse.cli('doctor')).stdout
}

describe('servers beside us that refuse', { skip: skipWithout(noRabbit, noRedis), timeout: 60_000 }, () => {
  it('a wrong password, no such host, nobody there', async () => {
    const wrong = at((url) => {
      url.password = 'a-wrong-secret'
    })
    const said = await doctorOf({ broker: { url: wrong } })
    assert.match(said, /broker: .*does not let us in\. Check user and password in broker\.url\./)
    assert.ok(!said.includes('a-wrong-secret'))
    const nowhere = at((url) => {
      url.pathname = '/nowhere'
    })
    assert.match(await doctorOf({ broker: { url: nowhere } }), /broker: .*no such virtual host.*rabbitmqctl add_vhost/)
    assert.match(await doctorOf({ broker: { url: 'amqp://127.0.0.1:9' } }), /broker: .*cannot be reached\. Check the address/)
    assert.match(await doctorOf({ redis: { url: 'redis://127.0.0.1:9' } }), /redis: .*cannot be reached\. Check the address/)
  })

  it('a user who may do nothing', { skip: mayManage ? false : 'rabbitmqctl may not manage the server' }, async () => {
    const user = ownPrefix()
    const ctl = (...args: string[]) => execFileSync('rabbitmqctl', ['-q', ...args], { stdio: 'pipe' })
    ctl('add_user', user, 'secret-of-it')
    try {
      ctl('set_permissions', '-p', '/', user, '^$', '^$', '^$')
      const url = at((one) => {
        one.username = user
        one.password = 'secret-of-it'
      })
      assert.match(await doctorOf({ broker: { url } }), /broker: .*may not make, fill and read queues\. rabbitmqctl set_permissions/)
    } finally {
      ctl('delete_user', user)
    }
  })

  it('Redis with another password; the start says so too, and works', async () => {
    await using redis = await startRedis()
    await redis.client.config('SET', 'requirepass', 'the-right-one')
    const url = redis.url.replace('redis://', 'redis://:the-wrong-one@')
    assert.match(await doctorOf({ redis: { url } }), /redis: .*does not let us in\. Check user and password in redis\.url\./)
    await using posthouse = createPosthouse({ redis: { url } })
    await posthouse.start()
    await until(
      () => posthouse.log.some((line) => line.includes('Redis is away') && line.includes('redis.url')),
      'the log names the remedy',
    )
    assert.equal((await fetch(`${posthouse.url}/readyz`)).status, 200)
    assert.ok(posthouse.log.every((line) => !line.includes('the-wrong-one')))
    await posthouse.stop()
  })
})
