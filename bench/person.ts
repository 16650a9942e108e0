/** A person with an account on the gateway under test. */
import type { Target } from './target.ts'

const PASSWORD = 'four horses, one letter'

/** Takes the set-up link; answers the headers of a signed-in browser. */
export async function signUp({ url, setupToken }: Target): Promise<Record<string, string>> {
  const response = await fetch(`${url}/api/setup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin: url },
    body: JSON.stringify({ token: setupToken, name: 'ann', password: PASSWORD }),
  })
  if (!response.ok) throw new Error(`set-up was refused: ${response.status} ${await response.text()}`)
  const cookie = response.headers.getSetCookie()[0]?.split(';')[0]
  if (!cookie) throw new Error('set-up gave no cookie')
  return { cookie, origin: url }
}
