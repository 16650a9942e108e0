import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isPosthouseError } from '@posthouse/contract'
import type { Action, Principal, Scope } from '../ports/guards.ts'
import { authorize, scopesOf } from './authorize.ts'

const principal = (scopes: readonly Scope[], role: Principal['role'] = 'user'): Principal => ({
  userId: 'ann',
  name: 'Ann',
  role,
  scopes,
  by: 'token',
  id: 'x',
})

const people = {
  nobody: undefined,
  user: principal(scopesOf('user')),
  admin: principal(scopesOf('admin'), 'admin'),
  metrics: principal(['metrics']),
  'token of an administrator, for chat': principal(['chat'], 'admin'),
  'token without scopes': principal([], 'admin'),
}

const things = {
  mine: 'ann',
  'of a person of my program': 'ann/bob',
  hers: 'eve',
  'of a person of hers': 'eve/ann',
  like: 'anna',
  nobodys: undefined,
  '': '',
}

describe('authorize', () => {
  it('allows what the table allows, and nothing else', () => {
    const attempt = (who: Principal | undefined, action: Action, owner?: { owner: string | undefined }) => {
      try {
        return authorize(who, action, owner) === who ? 'yes' : 'somebody else'
      } catch (error) {
        return isPosthouseError(error) ? error.code : String(error)
      }
    }
    const table = Object.fromEntries(
      Object.entries(people).map(([name, who]) => [
        name,
        (['chat', 'administer', 'observe'] as const).map((action) => attempt(who, action)).join(' '),
      ]),
    )
    assert.deepEqual(table, {
      nobody: 'unauthorized unauthorized unauthorized',
      user: 'yes forbidden forbidden',
      admin: 'yes yes yes',
      metrics: 'forbidden forbidden yes',
      'token of an administrator, for chat': 'yes forbidden forbidden',
      'token without scopes': 'forbidden forbidden forbidden',
    })
    const own = (who: Principal | undefined) =>
      Object.fromEntries(Object.entries(things).map(([name, owner]) => [name, attempt(who, 'own', { owner })]))
    const denied = 'not-found'
    // Administrators have no right to the conversations of others either.
    for (const name of ['user', 'admin'] as const) {
      assert.deepEqual(own(people[name]), {
        mine: 'yes',
        'of a person of my program': 'yes',
        hers: denied,
        'of a person of hers': denied,
        like: denied,
        nobodys: denied,
        '': denied,
      })
    }
    assert.ok(Object.values(own(undefined)).every((result) => result === 'unauthorized'))
    assert.equal(attempt(people.user, 'own'), denied)
    assert.equal(attempt(people.admin, 'unheard of' as Action), 'forbidden', 'an unknown action lets nobody pass')
  })
})
