// Flags of Node for everything that runs from source.

/** The heap is bounded: on a small server the gateway collects its garbage instead of taking what the others need. */
export const nodeFlags = [
  '--conditions=posthouse-source',
  '--disable-warning=ExperimentalWarning',
  // Nobody on the machine opens a debugger, which sees every secret, by a signal.
  '--disable-sigusr1',
  '--max-semi-space-size=16',
  '--max-old-space-size=1024',
  // Several threads that share out a young generation of this size cost more than they save: an eighth of the processor on two cores.
  '--no-parallel-scavenge',
]
