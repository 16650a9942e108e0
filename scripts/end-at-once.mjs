// Preloaded into every test process. Node's own clean-up behind the last 'exit' listener may spin for ever on a socket whose other end was killed
// (seen with 26.10.0, in Environment::CleanupHandles). Everything ran and was told by then: end without it. An open handle still keeps a process alive.
process.once('beforeExit', () => process.on('exit', (code) => process.exit(code)))
