// Keeps the shell of the page (never data), so that it opens without a connection.
const cacheName = 'shell-__BUILD__'
/** Scripts and styles of this build, filled in by the build; fonts are kept when they are first used. */
const shellFiles = ['/icon.svg', '/theme.js', '/manifest.webmanifest', '__FILES__']
const isShellFile = (path) => path.startsWith('/assets/') || shellFiles.includes(path)

async function keepShell() {
  const cache = await caches.open(cacheName)
  const page = await fetch('/', { cache: 'no-store' })
  if (!page.ok || page.redirected) throw new Error('the shell is not available')
  await cache.put('/', page)
  await cache.addAll(shellFiles)
}

self.addEventListener('install', (event) => event.waitUntil(keepShell().then(() => self.skipWaiting())))

self.addEventListener('activate', (event) => {
  const clean = async () => {
    for (const name of await caches.keys()) if (name.startsWith('shell-') && name !== cacheName) await caches.delete(name)
    await self.clients.claim()
  }
  event.waitUntil(clean())
})

/** The network first: a new version shows at once; the kept shell only when there is no answer. */
async function answerPage(request) {
  try {
    return await fetch(request)
  } catch (error) {
    return (await caches.match('/')) ?? Promise.reject(error)
  }
}

/** Names of assets carry their content's digest: what is kept never goes stale. */
async function answerFile(request) {
  const kept = await caches.match(request)
  if (kept) return kept
  const answer = await fetch(request)
  if (answer.ok && answer.type === 'basic') await (await caches.open(cacheName)).put(request, answer.clone())
  return answer
}

self.addEventListener('fetch', (event) => {
  const { request } = event
  const url = new URL(request.url)
  if (request.method !== 'GET' || url.origin !== self.location.origin) return
  if (request.mode === 'navigate' && url.pathname === '/') event.respondWith(answerPage(request))
  else if (isShellFile(url.pathname)) event.respondWith(answerFile(request))
})
