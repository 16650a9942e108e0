/** Preloaded into a gateway's process: makes it the mutants that CHAOS_MUTANT names, with `,` between them. */
import { allMutants } from '../mutants.ts'
import { editSources } from './edit.ts'

const wanted = process.env.CHAOS_MUTANT?.split(',') ?? []
editSources(allMutants.filter(({ name }) => wanted.includes(name)).flatMap(({ edits }) => edits))
