/**
 * Preloaded into a gateway's process: it is the version that comes after this one, with a migration of its own. It adds (`CHAOS_NEXT=expand`), or then takes away
 * what this version would miss (`contract`).
 */
import { editSources } from './edit.ts'

const EXPAND = `{ name: '9000-expand', statements: ({ builder: { schema } }) => [
  ...['conversations', 'messages', 'inbox', 'outbox', 'nodes'].map((table) => schema.alterTable(table).addColumn('next_mark', 'text')),
  schema.createTable('next_things').addColumn('id', 'text', (c) => c.primaryKey()),
  schema.createIndex('next_messages').on('messages').column('next_mark'),
] },`
const CONTRACT = `{ name: '9001-contract', least: '9000-expand', statements: ({ builder: { schema } }) => [
  schema.alterTable('conversations').dropColumn('next_mark'),
] },`

const END = ']\n\n/** The newest migration that this version knows. */'

editSources([
  {
    file: 'src/storage/migrations/index.ts',
    find: END,
    replace: EXPAND + (process.env.CHAOS_NEXT === 'contract' ? CONTRACT : '') + END,
  },
])
