// Which files are tests of the Node side. The web has its own runner.
import { readdirSync } from 'node:fs'
import { join, relative } from 'node:path'

/** Where the files lie that take longest: they begin first, so that none of them is left alone at the end. */
const LONGEST = ['deploy', 'chaos', 'http', 'journeys', 'contracts'].map((name) => join('packages', 'server', 'test', name))

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
  const rank = (path) => LONGEST.findIndex((folder) => path.startsWith(folder)) >>> 0
  return found.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
}
