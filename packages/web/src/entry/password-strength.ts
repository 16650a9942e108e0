/** An estimate of how hard a password is to guess: shown while it is being chosen, so that nobody is surprised by a refusal. */

export const SHORTEST_PASSWORD = 10
export const LONGEST_PASSWORD = 200

export interface PasswordCheck {
  /** Long enough. */
  readonly length: boolean
  /** Not the user's name, not a common password, not a mere repetition or row. */
  readonly uncommon: boolean
  /** 0 (none) to 4 (strong). */
  readonly score: 0 | 1 | 2 | 3 | 4
}

const common = [
  'password',
  'passw0rd',
  'qwerty',
  'letmein',
  'welcome',
  'admin',
  'posthouse',
  'iloveyou',
  'abc123',
  'monkey',
  'dragon',
  'woaini',
  '5201314',
  '1qaz2wsx',
  'asdfgh',
  'zxcvbn',
]
const rows = ['abcdefghijklmnopqrstuvwxyz', '0123456789', 'qwertyuiop', 'asdfghjkl', 'zxcvbnm']

/** What stays of a password when rows (`4567`) and repetitions (`aaaa`) count once. */
function essence(password: string): string {
  let kept = ''
  for (let index = 0; index < password.length; index++) {
    const pair = password.slice(index - 1, index + 1).toLowerCase()
    const repeats = index > 0 && pair[0] === pair[1]
    const follows = index > 0 && rows.some((row) => row.includes(pair) || [...row].reverse().join('').includes(pair))
    if (!repeats && !follows) kept += password[index]
  }
  return kept
}

export function checkPassword(password: string, name: string): PasswordCheck {
  const letters = [...password]
  const plain = password.toLowerCase()
  let rest = plain
  for (const word of [...common, name.trim().toLowerCase()]) if (word.length > 2) rest = rest.split(word).join('')
  const kept = essence(rest)
  const classes = [/[a-z]/, /[A-Z]/, /[0-9]/, /[^a-zA-Z0-9]/].filter((kind) => kind.test(password)).length
  const pool = new Set(kept).size
  const length = letters.length >= SHORTEST_PASSWORD && letters.length <= LONGEST_PASSWORD
  const uncommon = kept.length >= 5 && pool >= 4
  const points = kept.length + (classes - 1) * 2 + (letters.some((letter) => letter > '~') ? 4 : 0)
  const score = password === '' ? 0 : !uncommon || !length ? 1 : points >= 18 ? 4 : points >= 12 ? 3 : 2
  return { length, uncommon, score }
}
