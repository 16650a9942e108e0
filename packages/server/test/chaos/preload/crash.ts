/** Preloaded into a gateway's process: what the composition root imports, and the migrations, are told of when they are passed. */
import { registerHooks } from 'node:module'

const here = (name: string) => new URL(name, import.meta.url).href
const replaced = [
  {
    parent: '/src/app.ts',
    imports: /^\.\/(storage|channels|tools)\/index\.ts$|^\.\/models-facade\.ts$|^\.\/base\/clock\.ts$/,
    by: here('./seams.ts'),
  },
  { parent: '/src/storage/migrations/index.ts', imports: /^\.\/\d{4}-(first|tool-calls)\.ts$/, by: here('./migrations.ts') },
]

registerHooks({
  resolve(specifier, context, next) {
    const found = replaced.find(({ parent, imports }) => context.parentURL?.endsWith(parent) && imports.test(specifier))
    return found ? { url: found.by, shortCircuit: true } : next(specifier, context)
  },
})
