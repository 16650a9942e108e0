/** Dead code: what nobody imports. */
export default {
  ignoreExportsUsedInFile: true,
  workspaces: {
    '.': {
      entry: ['scripts/*.{mjs,ts}', 'bench/*.ts'],
      project: ['scripts/**', 'bench/**'],
      // Called by path from scripts/.
      ignoreDependencies: ['@biomejs/biome'],
    },
    'packages/contract': { entry: ['src/index.ts', 'src/http.ts', 'src/**/*.test.ts'], project: ['src/**/*.ts'] },
    'packages/testkit': { entry: ['src/index.ts', 'src/**/*.test.ts'], project: ['src/**/*.ts'] },
    'packages/server': {
      entry: ['bin/posthouse.mjs', 'src/main.ts', 'test/journeys/{mutants,crash-on-word}.ts', '{src,test}/**/*.test.ts'],
      project: ['src/**/*.ts', 'test/**/*.ts', '!test/fixtures/**'],
    },
    'packages/web': {
      entry: ['src/main.tsx', 'public/*.js', 'src/**/*.test.{ts,tsx}'],
      project: ['src/**/*.{ts,tsx}'],
      // Named by the style sheet.
      ignoreDependencies: ['tailwindcss'],
    },
  },
  ignore: ['packages/server/test/fixtures/**'],
}
