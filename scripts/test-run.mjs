// Runs the test files that are named, in that order, several at the same time, each in a process of its own with the flags of this one.
import { availableParallelism } from 'node:os'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'

// One more than there are processors: most of them wait for most of their time.
run({ files: process.argv.slice(2), concurrency: availableParallelism() + 1, timeout: 300_000 })
  .on('test:fail', ({ todo }) => {
    if (todo === undefined) process.exitCode = 1
  })
  .compose(new spec())
  .pipe(process.stdout)
