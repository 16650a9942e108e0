/** Installing the app in workspaces, with tokens that end. https://docs.slack.dev/authentication/installing-with-oauth */
import { randomUUID } from 'node:crypto'
import type { PlatformAnswer, PlatformCall } from '../platform.ts'
import { Refusal } from './refusal.ts'

export interface OAuth {
  readonly clientId: string
  readonly clientSecret: string
  /** The page that asks a person; this one agrees at once, in the name of `workspace`, and sends the browser back. */
  authorize(call: Pick<PlatformCall, 'query'>): PlatformAnswer
  access(params: Readonly<Record<string, unknown>>): object
  /** The workspace of a token that holds. @throws Refusal `token_expired` */
  teamOf(token: string): string | undefined
  /** Every token ends now; only what renews it holds. */
  expire(): void
  /** In which workspace the person is that agrees next. */
  workspace: string
}

const LIFE = 43_200

export function createOAuth(options: {
  readonly app: string
  readonly bot: string
  /** Where browsers are sent back to. */
  readonly redirectUrl: () => string | undefined
  readonly rotates: boolean
}): OAuth {
  const { app, bot, redirectUrl, rotates } = options
  const codes = new Map<string, string>()
  const tokens = new Map<string, { readonly team: string; expired: boolean }>()
  const refreshes = new Map<string, string>()

  const grant = (team: string) => {
    const token = `xox${rotates ? 'e.xox' : ''}b-${team}-${randomUUID()}`
    const refresh = `xoxe-1-${randomUUID()}`
    tokens.set(token, { team, expired: false })
    if (rotates) refreshes.set(refresh, team)
    return {
      access_token: token,
      token_type: 'bot',
      scope: 'chat:write',
      bot_user_id: bot,
      app_id: app,
      team: { id: team, name: `Workspace ${team}` },
      enterprise: null,
      is_enterprise_install: false,
      authed_user: { id: 'U0INSTALLER' },
      ...(rotates ? { expires_in: LIFE, refresh_token: refresh } : {}),
    }
  }

  const oauth: OAuth = {
    clientId: '100000000000.200000000000',
    clientSecret: 'fedcba9876543210fedcba9876543210',
    workspace: 'T0EMULATE',
    authorize({ query }) {
      const back = redirectUrl()
      if (query.get('client_id') !== oauth.clientId || !query.get('scope') || back === undefined)
        return { status: 400, body: 'invalid_client_id' }
      const code = randomUUID()
      codes.set(code, oauth.workspace)
      return { status: 302, headers: { location: `${back}?${new URLSearchParams({ code, state: query.get('state') ?? '' })}` } }
    },
    access({ client_id: client, client_secret: secret, code, grant_type: type, refresh_token: refresh }) {
      if (client !== oauth.clientId) throw new Refusal('invalid_client_id')
      if (secret !== oauth.clientSecret) throw new Refusal('bad_client_secret')
      if (type === 'refresh_token') {
        const team = refreshes.get(String(refresh))
        if (team === undefined) throw new Refusal('invalid_refresh_token')
        refreshes.delete(String(refresh))
        return grant(team)
      }
      const team = codes.get(String(code))
      if (team === undefined) throw new Refusal('invalid_code')
      codes.delete(String(code))
      return grant(team)
    },
    teamOf(token) {
      const found = tokens.get(token)
      if (found?.expired) throw new Refusal('token_expired')
      return found?.team
    },
    expire() {
      for (const token of tokens.values()) token.expired = true
    },
  }
  return oauth
}
