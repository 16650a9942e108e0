/** Preloaded into a gateway's process: on a signal its event loop stands still for 20 s, and nothing else of the process does. */
process.on('SIGUSR2', () => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20_000)
})
