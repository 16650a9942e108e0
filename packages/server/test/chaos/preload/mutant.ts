/** Preloaded into a gateway's process: makes it the mutant that CHAOS_MUTANT names. */
import { mutants } from '../mutants.ts'
import { editSources } from './edit.ts'

editSources(mutants.find(({ name }) => name === process.env.CHAOS_MUTANT)?.edits ?? [])
