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
        'test/chaos/{run,soak}.ts',
        'test/chaos/preload/*.ts',
        'test/cli/loaded.ts',
        'test/mcp/official-program.ts',
        '{src,test}/**/*.test.ts',
      ],
      project: ['src/**/*.ts', 'test/**/*.ts', '!test/fixtures/**'],
      // Debian's: rows of the fault matrix and tests with real servers say what they need of a machine.
      ignoreBinaries: ['mount', 'umount', 'strace', 'doveadm', 'openssl', 'redis-server', 'epmd', 'etcd', 'etcdctl', 'ip', 'rabbitmqctl'],
    },
    'packages/web': {
      entry: ['public/*.js', 'src/**/*.test.{ts,tsx}'],
      project: ['src/**/*.{ts,tsx,css}'],
    },
  },
}
