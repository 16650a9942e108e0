/** Takes secrets out of words that others wrote. */

const SHOWN = '[redacted]'

/** Forms of keys in the field, for those that are not ours to know: a provider may quote a key back, whole or in part. */
const forms =
  /\b(?:sk|pk|rk|key|gsk|xai)-[\w*.-]{6,}|\b(Bearer|Basic)\s+[\w.~+/*=-]{6,}|([?&](?:key|api[_-]?key|token|access_token)=)[^&\s"']+/gi

/** Makes a function that hides the given secrets and everything that looks like one. */
export function createRedactor(secrets: readonly (string | undefined)[]): (text: string) => string {
  const known = secrets.filter((secret): secret is string => secret !== undefined && secret.length >= 4).sort((a, b) => b.length - a.length)
  return (text) => {
    let result = text
    for (const secret of known) result = result.replaceAll(secret, SHOWN)
    return result.replace(forms, (_match, scheme?: string, query?: string) => (scheme ? `${scheme} ${SHOWN}` : `${query ?? ''}${SHOWN}`))
  }
}
