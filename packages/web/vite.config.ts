import { readFileSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import tailwind from '@tailwindcss/vite'
import react from '@vitejs/plugin-react'
import type { Plugin } from 'vite'
import { defineConfig } from 'vitest/config'

/** What the first screen may weigh: the entry script and all that it imports at once, gzipped. */
const INITIAL_JS_LIMIT = 250 * 1024

/** Prints the weight of the first screen and fails the build when it is over the limit. */
function weighEntry(): Plugin {
  return {
    name: 'weigh-entry',
    apply: 'build',
    generateBundle(_, bundle) {
      const seen = new Set<string>()
      const visit = (file: string) => {
        const chunk = bundle[file]
        if (seen.has(file) || chunk?.type !== 'chunk') return
        seen.add(file)
        for (const imported of chunk.imports) visit(imported)
      }
      for (const chunk of Object.values(bundle)) if (chunk.type === 'chunk' && chunk.isEntry) visit(chunk.fileName)
      let bytes = 0
      for (const file of seen) {
        const chunk = bundle[file]
        if (chunk?.type === 'chunk') bytes += gzipSync(chunk.code).length
      }
      console.log(`first screen: ${(bytes / 1024).toFixed(1)} KB of script, gzipped (limit ${INITIAL_JS_LIMIT / 1024} KB)`)
      if (bytes > INITIAL_JS_LIMIT) throw new Error('The first screen is over its limit: load more of it lazily.')
    },
  }
}

/** Tells the service worker what to keep, under a name of its own per build: an old shell never mixes with new scripts. */
function stampWorker(): Plugin {
  return {
    name: 'stamp-worker',
    apply: 'build',
    writeBundle(options, bundle) {
      const file = `${options.dir}/sw.js`
      const entry = Object.values(bundle).find((chunk) => chunk.type === 'chunk' && chunk.isEntry)
      const stamp = entry?.fileName.replace(/\W+/g, '-') ?? 'unknown'
      const files = Object.keys(bundle).filter((name) => /\.(js|css)$/.test(name) && name.startsWith('assets/'))
      const list = files.map((name) => `'/${name}'`).join(', ')
      writeFileSync(
        file,
        readFileSync(new URL('./public/sw.js', import.meta.url), 'utf8')
          .replace('__BUILD__', stamp)
          .replace("'__FILES__'", list),
      )
    },
  }
}

export default defineConfig({
  plugins: [react(), tailwind(), weighEntry(), stampWorker()],
  resolve: { conditions: ['posthouse-source', 'module', 'browser', 'development|production'] },
  build: { target: 'es2022', assetsInlineLimit: 0, chunkSizeWarningLimit: 600, reportCompressedSize: false },
  // `vite` serves the page alone; the rest comes from a gateway that runs beside it.
  server: { host: '127.0.0.1', proxy: { '/api': 'http://127.0.0.1:8080', '/ws': { target: 'ws://127.0.0.1:8080', ws: true } } },
  test: { environment: 'happy-dom', include: ['src/**/*.test.{ts,tsx}'] },
})
