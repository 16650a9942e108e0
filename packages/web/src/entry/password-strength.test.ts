import { expect, it } from 'vitest'
import { checkPassword } from './password-strength.ts'

it.each(['password123', 'aaaaaaaaaaaa', '1234567890', 'qwertyuiop', 'posthouse1', 'Lin-Lin-Lin', 'abcdefghijkl', 'admin12345'])(
  'does not take %s',
  (password) => {
    const check = checkPassword(password, 'Lin')
    expect(check.length && check.uncommon).toBe(false)
    expect(check.score).toBeLessThan(2)
  },
)

it.each(['courier-horse', '驿站快马加鞭不停蹄一千里', 'T4ng!road-740', 'correct staple battery'])('takes %s', (password) => {
  expect(checkPassword(password, 'Lin')).toMatchObject({ length: true, uncommon: true })
  expect(checkPassword(password, 'Lin').score).toBeGreaterThanOrEqual(2)
})

it('asks for ten characters', () => {
  expect(checkPassword('x7!kQ#p2v', 'Lin').length).toBe(false)
  expect(checkPassword('', 'Lin').score).toBe(0)
})
