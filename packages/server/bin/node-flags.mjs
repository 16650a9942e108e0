// Flags of Node for everything that runs from source.

/** Of the environment, unless told otherwise: each thread would keep free memory of its own, some 20 MB in all. */
export const nodeEnvironment = { MALLOC_ARENA_MAX: '2' }

/** The heap is bounded: on a small server the gateway collects its garbage instead of taking what the others need. */
export const nodeFlags = [
  '--conditions=posthouse-source',
  '--disable-warning=ExperimentalWarning',
  // Nobody on the machine opens a debugger, which sees every secret, by a signal.
  '--disable-sigusr1',
  // A turn lives for as long as its model speaks: with half of this, most of what it holds is copied over and over before it goes.
  '--max-semi-space-size=32',
  '--max-old-space-size=1024',
  // Several threads that share out a young generation of this size cost more than they save: an eighth of the processor on two cores.
  '--no-parallel-scavenge',
  // Memory is given back when there is little to do (ops/memory.ts).
  '--expose-gc',
]
