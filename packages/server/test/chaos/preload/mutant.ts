/** Preloaded into a gateway's process: makes it the mutant, or the leak, that CHAOS_MUTANT names. */
import { leaks } from '../../http/leaks.ts'
import { mutants } from '../mutants.ts'
import { editSources } from './edit.ts'

editSources([...mutants, ...leaks].find(({ name }) => name === process.env.CHAOS_MUTANT)?.edits ?? [])
