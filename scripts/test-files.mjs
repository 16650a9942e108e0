// Which files are tests of the Node side. The web has its own runner.
import { readdirSync } from 'node:fs'
import { join, relative } from 'node:path'

/** Paths of all test files below packages/, bench/ and scripts/, relative to the root. */
export function testFiles(root) {
  const found = []
  const walk = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (['node_modules', 'dist', 'web', 'fixtures'].includes(entry.name)) continue
      const path = join(folder, entry.name)
      if (entry.isDirectory()) walk(path)
      else if (entry.name.endsWith('.test.ts')) found.push(relative(root, path))
    }
  }
  for (const folder of ['packages', 'bench', 'scripts', 'examples']) {
    try {
      walk(join(root, folder))
    } catch (error) {
      if (error.code !== 'ENOENT') throw error
    }
  }
  return found.sort()
}
