/** Preloaded into a gateway: on a signal it writes the runtime's own report, and ends as an error that nobody expected would end it. */
process.on('SIGUSR2', () => {
  process.report.writeReport('report.json')
  const said = process.env.POSTHOUSE_SAID ?? ''
  const error = Object.assign(new RangeError(`Invalid time zone specified: ${said}`, { cause: new Error(said) }), {
    code: 'ERR_PLANTED',
    body: { query: said },
    headers: [['authorization', said]],
  })
  setImmediate(() => {
    throw error
  })
})
