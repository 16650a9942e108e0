import './styles.css'
import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { Tooltip } from 'radix-ui'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './app.tsx'
import { Crash } from './crash.tsx'
import { ApiError } from './shared/api.ts'
import { followFreeHeight, offerReload, registerWorker } from './shared/browser.ts'
import { startLanguages } from './shared/i18n.ts'
import { applyToDocument, followOtherTabs, onPreferences, preferences } from './shared/preferences.ts'
import { memoryStorage, openStorage } from './shared/storage.ts'
import { Notices } from './shared/ui/toast.tsx'

/** The one-time token stands behind the `#`, which browsers never send anywhere. */
const SETUP_LINK = /^#setup=(.{1,512})$/
const token = SETUP_LINK.exec(location.hash)?.[1]

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 30_000,
      networkMode: 'always',
      retry: (count, error) => count < 2 && error instanceof ApiError && ['offline', 'slow', 'unavailable'].includes(error.code),
    },
    mutations: { networkMode: 'always' },
  },
})

async function main() {
  // Pasted into a tab that shows this page already, the link changes nothing but what is behind the `#`.
  window.addEventListener('hashchange', () => {
    if (SETUP_LINK.test(location.hash)) location.reload()
  })
  applyToDocument(preferences())
  onPreferences(() => applyToDocument(preferences()))
  followOtherTabs()
  followFreeHeight()
  await startLanguages()
  offerReload()
  registerWorker()
  const storage = await openStorage().catch(memoryStorage)
  const root = document.getElementById('root')
  if (!root) throw new Error('The page has no root.')
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <Tooltip.Provider delayDuration={400}>
          <Crash>
            <App storage={storage} token={token} />
          </Crash>
          <Notices />
        </Tooltip.Provider>
      </QueryClientProvider>
    </StrictMode>,
  )
}

void main()
