/** Which screen: set-up, login or chat. */
import type { MeResponse } from '@posthouse/contract/http'
import { LoaderCircle } from 'lucide-react'
import { useCallback, useEffect, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { ChatRoot } from './chat/chat-root.tsx'
import { EntryFrame } from './entry/entry-frame.tsx'
import { LoginScreen } from './entry/login-screen.tsx'
import { SetupScreen } from './entry/setup-screen.tsx'
import { ApiError, api } from './shared/api.ts'
import type { Storage } from './shared/storage.ts'
import { Button } from './shared/ui/button.tsx'

type Screen =
  | { readonly kind: 'starting' }
  | { readonly kind: 'unreachable'; readonly code: ApiError['code'] }
  | { readonly kind: 'setup' }
  | { readonly kind: 'login'; readonly usedLink: boolean }
  | { readonly kind: 'chat'; readonly me: MeResponse }

const RETRY_AFTER = 5000

/** Without an answer of the server, what this browser keeps of its owner is shown; a refusal never is answered by kept content. */
async function firstScreen(storage: Storage, token: string | undefined): Promise<Screen> {
  try {
    const me = await api.me()
    return { kind: 'chat', me }
  } catch (error) {
    const code = error instanceof ApiError ? error.code : 'internal'
    if (code !== 'unauthorized') {
      const owner = await storage.owner().catch(() => undefined)
      return owner ? { kind: 'chat', me: owner } : { kind: 'unreachable', code }
    }
  }
  try {
    const { needed } = await api.setupStatus()
    return needed ? { kind: 'setup' } : { kind: 'login', usedLink: token !== undefined }
  } catch (error) {
    return { kind: 'unreachable', code: error instanceof ApiError ? error.code : 'internal' }
  }
}

export function App({ storage, token }: { storage: Storage; token: string | undefined }) {
  const { t } = useTranslation()
  const [screen, setScreen] = useState<Screen>({ kind: 'starting' })
  const start = useCallback(() => {
    firstScreen(storage, token).then(setScreen, () => setScreen({ kind: 'unreachable', code: 'internal' }))
  }, [storage, token])
  useEffect(start, [start])
  useEffect(() => {
    if (screen.kind !== 'unreachable') return
    const timer = setTimeout(start, RETRY_AFTER)
    return () => clearTimeout(timer)
  }, [screen, start])

  const enter = useCallback((me: MeResponse) => {
    // The link has done its work: it shall not stay in the address.
    history.replaceState(null, '', '/')
    setScreen({ kind: 'chat', me })
  }, [])

  switch (screen.kind) {
    case 'starting':
      return (
        <div role="status" aria-label={t('loading')} className="flex h-screen-free items-center justify-center text-soft">
          <LoaderCircle className="size-6 animate-spin" aria-hidden />
        </div>
      )
    case 'unreachable':
      return (
        <EntryFrame title={t('start.failed')} lead={t('start.failedLead', { reason: t(`error.${screen.code}`) })}>
          <Button look="primary" className="w-full" onClick={start}>
            {t('retry')}
          </Button>
        </EntryFrame>
      )
    case 'setup':
      return <SetupScreen token={token} onDone={enter} onUsed={() => setScreen({ kind: 'login', usedLink: true })} />
    case 'login':
      return <LoginScreen usedLink={screen.usedLink} onDone={enter} />
    case 'chat':
      return <ChatRoot key={screen.me.id} me={screen.me} storage={storage} />
  }
}
