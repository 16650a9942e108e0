/** Changes source as it is loaded, so that the product carries nothing for its tests. What is to be changed must be there. */
import { registerHooks } from 'node:module'
import { pathToFileURL } from 'node:url'

export interface Edit {
  /** End of the path of the file, from `src/` on. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

/** Edits every file that is loaded from now on. @throws when the place of an edit is gone from its file. */
export function editSources(edits: readonly Edit[]): void {
  registerHooks({
    load(url, context, next) {
      const loaded = next(url, context)
      const wanted = edits.filter(({ file }) => url.endsWith(`/${file}`))
      if (wanted.length === 0) return loaded
      let source = String(loaded.source)
      for (const { file, find, replace } of wanted) {
        if (!source.includes(find)) throw new Error(`the place is gone from ${file}: ${find}`)
        source = source.replace(find, () => replace)
      }
      return { ...loaded, source }
    },
  })
}

/** Variables of a process that loads these modules of this folder before its own; also in its threads. */
export function preloading(env: NodeJS.ProcessEnv, ...names: readonly string[]): NodeJS.ProcessEnv {
  const imports = names.map((name) => `--import=${pathToFileURL(`${import.meta.dirname}/${name}.ts`).href}`)
  return { ...env, NODE_OPTIONS: [env.NODE_OPTIONS ?? '', ...imports].join(' ').trim() }
}
