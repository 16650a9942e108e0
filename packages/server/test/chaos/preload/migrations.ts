/** Stands in the place of the migrations: the same, told when they are begun, in the midst of their transactions. */
import { first as realFirst } from '../../../src/storage/migrations/0001-first.ts'
import { toolCalls as realToolCalls } from '../../../src/storage/migrations/0002-tool-calls.ts'
import { around } from './reach.ts'

export const first: typeof realFirst = around('migrations.first', realFirst)
export const toolCalls: typeof realToolCalls = around('migrations.toolCalls', realToolCalls)
