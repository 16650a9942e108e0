/** Things around the page: the room that a keyboard leaves, new versions, the service worker. */
import i18next from 'i18next'
import { notify } from './ui/toast.tsx'

/** Keeps `--free-height` at the visible height, so that an on-screen keyboard never covers the composer. */
export function followFreeHeight(): void {
  const view = window.visualViewport
  if (!view) return
  const follow = () => {
    // Zoomed in, the visible part says nothing about a keyboard.
    if (view.scale > 1.01) return
    document.documentElement.style.setProperty('--free-height', `${Math.round(view.height)}px`)
    // Safari moves the page under the keyboard: put it back.
    if (view.offsetTop > 0) window.scrollTo(0, 0)
  }
  view.addEventListener('resize', follow)
  view.addEventListener('scroll', follow)
  follow()
}

/** After an update of the server, parts that this page has not loaded yet are gone: offer to load it anew. */
export function offerReload(): void {
  window.addEventListener('vite:preloadError', (event) => {
    event.preventDefault()
    const action = { label: i18next.t('update.reload'), run: () => location.reload() }
    // Without any answer there is just no connection, and nothing to be had by reloading.
    fetch('/api/setup').then(
      () => notify({ id: 'update', text: i18next.t('update.broken'), action }),
      () => undefined,
    )
  })
}

/** Only in a built page, and where the browser has one (HTTPS or the loopback). */
export function registerWorker(): void {
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return
  navigator.serviceWorker
    .register('/sw.js', { updateViaCache: 'none' })
    .then((registration) => {
      const check = () => {
        if (document.visibilityState === 'visible') registration?.update().catch(() => undefined)
      }
      document.addEventListener('visibilitychange', check)
      window.addEventListener('pageshow', check)
    })
    .catch(() => undefined)
}
