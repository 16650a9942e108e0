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
    'packages/contract': { entry: ['src/**/*.test.ts'], project: ['src/**/*.ts'] },
    'packages/testkit': { entry: ['src/**/*.test.ts'], project: ['src/**/*.ts'] },
    'packages/server': {
      entry: [
        'src/main.ts',
        'test/journeys/{mutants,crash-on-word,crash-in-mail,end-badly,ledger-tool}.ts',
        'test/cli/loaded.ts',
        '{src,test}/**/*.test.ts',
      ],
      // Debian's, for tests with real servers.
      ignoreBinaries: ['doveadm', 'openssl', 'redis-server'],
      project: ['src/**/*.ts', 'test/**/*.ts', '!test/fixtures/**'],
    },
    'packages/web': {
      entry: ['public/*.js', 'src/**/*.test.{ts,tsx}'],
      project: ['src/**/*.{ts,tsx,css}'],
    },
  },
}
