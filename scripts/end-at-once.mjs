// Preloaded into every test process. Node's own clean-up behind the last 'exit' listener may spin for ever on a socket whose other end was killed
// (seen with 26.10.0, in Environment::CleanupHandles). Everything ran and was told by then: end without it. An open handle still keeps a process alive.
import { after } from 'node:test'

/** Milliseconds after the last test for what it left open to close. */
const PATIENCE = 20_000

process.once('beforeExit', () => process.on('exit', (code) => process.exit(code)))

// What a test leaves open would keep its file, and the whole run, waiting for ever.
if (process.env.NODE_TEST_CONTEXT)
  after(() => {
    setTimeout(() => {
      console.error(`left open ${PATIENCE / 1000} s after the last test: ${process.getActiveResourcesInfo().join(', ')}`)
      process.exit(1)
    }, PATIENCE).unref()
  })
