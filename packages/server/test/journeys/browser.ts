/** A real browser for journeys: Debian's chromium with an empty profile, looking at the page as a person does. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BrowserContextOptions, chromium, type Page } from 'playwright-core'

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

export const chromiumPath = process.env.CHROMIUM ?? '/usr/bin/chromium'

/** Why no browser journey can run here, with the remedy; undefined when one can. */
export const noBrowser = existsSync(chromiumPath)
  ? undefined
  : `there is no browser at ${chromiumPath}: apt-get install chromium, or set CHROMIUM to the path of one`

export interface Browser extends AsyncDisposable {
  readonly page: Page
  /** What the page complained about: uncaught errors, broken policy, errors on the console. */
  readonly complaints: readonly string[]
  offline(offline: boolean): Promise<void>
}

/** Opens a browser with one page; its profile is deleted with it. */
export async function openBrowser(options: BrowserContextOptions = {}): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), 'posthouse-browser-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: chromiumPath,
    args: flags,
    locale: 'en-GB',
    viewport: { width: 1280, height: 800 },
    ...options,
  })
  const page = context.pages()[0] ?? (await context.newPage())
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('console', (message) => {
    // A request that fails while the server is down is what this page is built for.
    if (message.type() === 'error' && !/Failed to load resource|net::ERR_|WebSocket connection/.test(message.text())) {
      complaints.push(message.text())
    }
  })
  return {
    page,
    complaints,
    offline: (offline) => context.setOffline(offline),
    async [Symbol.asyncDispose]() {
      await context.close()
      rmSync(profile, { recursive: true, force: true })
    },
  }
}
