/** People who sign in, their logins, and the tokens of their programs. */
import { PosthouseError } from '@posthouse/contract'
import type { Kysely, Selectable } from 'kysely'
import type { Clock } from '../base/clock.ts'
import type { AccessToken, User, UserStore } from '../ports/users.ts'
import type { Database } from './dialects/dialect.ts'
import { createErasures } from './erasures.ts'
import { first, prepare, type Query, type Transaction } from './query.ts'
import type { Schema } from './schema.ts'

const openUser = (row: Pick<Selectable<Schema['users']>, 'id' | 'name' | 'role' | 'password_hash' | 'version'>): User => ({
  id: row.id,
  name: row.name,
  role: row.role,
  passwordHash: row.password_hash,
  version: row.version,
})

const openToken = (row: Selectable<Schema['access_tokens']>): AccessToken => ({
  id: row.id,
  name: row.name,
  userId: row.user_id,
  scopes: row.scopes.split(' '),
  createdAt: Number(row.created_at),
  expiresAt: Number(row.expires_at),
  revokedAt: row.revoked_at === null ? undefined : Number(row.revoked_at),
})

export function createUsers(builder: Kysely<Schema>, database: Database, { clock }: { clock: Clock }): UserStore {
  const all = builder.selectFrom('users').selectAll()
  const count = prepare()(() => builder.selectFrom('users').select((e) => e.fn.countAll<number>().as('count')))
  const byName = prepare<{ name: string }>()((p) => all.where('name', '=', p.name))
  const byId = prepare<{ id: string }>()((p) => all.where('id', '=', p.id))
  const firstUser = prepare()(() => all.orderBy('created_at').limit(1))
  const insert = prepare<{ id: string; name: string; role: User['role']; hash: string; at: number }>()((p) =>
    builder
      .insertInto('users')
      .values({ id: p.id, name: p.name, role: p.role, password_hash: p.hash, version: 1, created_at: p.at })
      .onConflict((conflict) => conflict.doNothing()),
  )
  const changePassword = prepare<{ id: string; hash: string }>()((p) =>
    builder
      .updateTable('users')
      .set((e) => ({ password_hash: p.hash, version: e('version', '+', 1) }))
      .where('id', '=', p.id),
  )
  const clearLinks = prepare()(() => builder.deleteFrom('setup_links').where('used_at', 'is', null))
  const addLink = prepare<{ hash: string; expiresAt: number }>()((p) =>
    builder.insertInto('setup_links').values({ hash: p.hash, expires_at: p.expiresAt }),
  )
  const useLink = prepare<{ hash: string; at: number }>()((p) =>
    builder
      .updateTable('setup_links')
      .set({ used_at: p.at })
      .where('hash', '=', p.hash)
      .where('used_at', 'is', null)
      .where('expires_at', '>', p.at),
  )
  const addLogin = prepare<{ hash: string; user: string; at: number; expiresAt: number }>()((p) =>
    builder.insertInto('logins').values((e) => ({
      hash: p.hash,
      user_id: p.user,
      user_version: e.selectFrom('users').select('version').where('id', '=', p.user),
      created_at: p.at,
      expires_at: p.expiresAt,
    })),
  )
  const login = prepare<{ hash: string; at: number }>()((p) =>
    builder
      .selectFrom('logins')
      .innerJoin('users', (join) => join.onRef('users.id', '=', 'logins.user_id').onRef('users.version', '=', 'logins.user_version'))
      .selectAll('users')
      .where('logins.hash', '=', p.hash)
      .where('logins.expires_at', '>', p.at),
  )
  const removeLogin = prepare<{ hash: string }>()((p) => builder.deleteFrom('logins').where('hash', '=', p.hash))
  const addToken = prepare<{ id: string; name: string; user: string; scopes: string; at: number; expiresAt: number }>()((p) =>
    builder.insertInto('access_tokens').values({
      id: p.id,
      name: p.name,
      user_id: p.user,
      scopes: p.scopes,
      created_at: p.at,
      expires_at: p.expiresAt,
    }),
  )
  const token = prepare<{ id: string }>()((p) => builder.selectFrom('access_tokens').selectAll().where('id', '=', p.id))
  const tokens = prepare()(() => builder.selectFrom('access_tokens').selectAll().orderBy('created_at'))
  const revoke = prepare<{ id: string; at: number }>()((p) =>
    builder.updateTable('access_tokens').set({ revoked_at: p.at }).where('id', '=', p.id).where('revoked_at', 'is', null),
  )

  const erasures = createErasures(builder)

  const add = async (transaction: Transaction, user: Omit<User, 'version'>) => {
    const added = await transaction.run(insert, { id: user.id, name: user.name, role: user.role, hash: user.passwordHash, at: clock.now() })
    if (added === 0) throw new PosthouseError('invalid', 'name: this name is taken')
  }
  const openFirst = async <P>(query: Query<P, Selectable<Schema['users']>>, params: P) => {
    const row = await first(database.read, query, params)
    return row && openUser(row)
  }

  return {
    count: async () => Number((await first(database.read, count, {}))?.count ?? 0),
    first: () => openFirst(firstUser, {}),
    byName: (name) => openFirst(byName, { name }),
    byId: (id) => openFirst(byId, { id }),
    add: (user) => database.write((transaction) => add(transaction, user)),
    setUp: (linkHash, user) =>
      database.write(async (transaction) => {
        if (Number((await first(transaction, count, {}))?.count) > 0) return false
        if ((await transaction.run(useLink, { hash: linkHash, at: clock.now() })) !== 1) return false
        // Two links at once meet here: who comes second finds none.
        await transaction.run(clearLinks, {})
        await add(transaction, user)
        return true
      }),
    setLink: (linkHash, expiresAt, alone) =>
      database.write(async (transaction) => {
        if (alone) await transaction.run(clearLinks, {})
        await transaction.run(addLink, { hash: linkHash, expiresAt })
      }),
    changePassword: (id, hash) => database.write(async (transaction) => void (await transaction.run(changePassword, { id, hash }))),
    addLogin: (hash, userId, expiresAt) =>
      database.write(async (transaction) => void (await transaction.run(addLogin, { hash, user: userId, at: clock.now(), expiresAt }))),
    login: (hash) => openFirst(login, { hash, at: clock.now() }),
    removeLogin: (hash) => database.write(async (transaction) => void (await transaction.run(removeLogin, { hash }))),
    addToken: ({ id, name, userId, scopes, createdAt, expiresAt }) =>
      database.write(async (transaction) => {
        await transaction.run(addToken, { id, name, user: userId, scopes: scopes.join(' '), at: createdAt, expiresAt })
      }),
    async token(id) {
      const row = await first(database.read, token, { id })
      return row && openToken(row)
    },
    tokens: async () => (await database.read.all(tokens, {})).map(openToken),
    revokeToken: (id) =>
      database.write(async (transaction) => {
        const at = clock.now()
        if ((await transaction.run(revoke, { id, at })) === 0) return false
        await erasures.note(transaction, { kind: 'token', id, erasedAt: at })
        return true
      }),
  }
}
