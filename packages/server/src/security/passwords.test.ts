import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { checkPassword, hashPassword } from './passwords.ts'

describe('passwords', () => {
  it('are kept as argon2id with their own salt, and checked by it', async () => {
    const [one, two] = await Promise.all([hashPassword('correct horse'), hashPassword('correct horse')])
    assert.match(one, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
    assert.notEqual(one, two)
    assert.ok(await checkPassword('correct horse', one))
    assert.ok(await checkPassword('correct horse', two))
    for (const wrong of ['', 'correct hors', 'correct horse ', 'Correct horse', 'correct horse\0'])
      assert.ok(!(await checkPassword(wrong, one)), wrong)
  })

  it('are the same however a keyboard composes a letter', async () => {
    assert.ok(await checkPassword('Cafe\u0301 au lait', await hashPassword('Caf\u00e9 au lait')))
  })

  it('do not fit where there is none, or what is stored is no hash of ours', async () => {
    for (const stored of [
      undefined,
      '',
      'correct horse',
      '$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA',
      '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$',
    ]) {
      assert.ok(!(await checkPassword('correct horse', stored)), String(stored))
    }
  })

  it('are checked with the parameters that are stored, so that those can rise', async () => {
    const light = '$argon2id$v=19$m=64,t=1,p=1$'
    const hash = await hashPassword('x')
    assert.ok(!(await checkPassword('x', light + hash.split('$').slice(4).join('$'))))
    assert.ok(!(await checkPassword('x', hash.replace('t=2', 't=3'))))
  })

  it('cost the same work for an unknown name', async () => {
    const known = await hashPassword('x')
    const time = async (stored: string | undefined) => {
      const started = performance.now()
      await checkPassword('wrong', stored)
      return performance.now() - started
    }
    const least = async (stored: string | undefined) => Math.min(await time(stored), await time(stored), await time(stored))
    const [there, absent] = [await least(known), await least(undefined)]
    assert.ok(absent > there / 20 && absent < there * 20, `${there} ms and ${absent} ms`)
  })
})
