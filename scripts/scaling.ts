/**
 * `node --conditions=posthouse-source scripts/scaling.ts`: writes the tables of docs/scaling.md and docs/scaling.zh.md from what was measured
 * (bench/figures.json, by `BENCH_FIGURES=bench/figures.json npm run bench -- --cluster`) and what is assumed (below).
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')

interface Measured {
  /** Microseconds of CPU for a turn whose answer is streamed; MB of a node under load. */
  readonly node: { readonly cpu: number; readonly memory: number }
  /** For each turn: microseconds of CPU, bytes of log, bytes of data with indexes. */
  readonly database: { readonly cpu: number; readonly log: number; readonly data: number }
}

/** What people do; change it to your own. */
export const ASSUMED = {
  /** Of all people, in the busiest hour. */
  active: 0.1,
  /** Seconds between two questions of somebody who is active. */
  pause: 120,
  questionsADay: 10,
  /** Of all people, with a page open; KB of memory for each. */
  pages: 0.3,
  page: 28,
  /** How much of a core may be busy at the peak: the rest is for bursts, and for the loss of a node. */
  busy: 0.5,
  /** Connections of a node to PostgreSQL. */
  connections: 7,
  /** Cores of the largest database server that is still easy to get. */
  largestDatabase: 32,
} as const

const SIZES = [100, 1_000, 10_000, 100_000, 1_000_000]

interface Line {
  readonly people: number
  readonly turns: number
  readonly nodes: number
  readonly databaseCores: number
  readonly connections: number
  readonly log: number
  readonly data: number
  readonly pages: number
  readonly shards: number
}

/** What so many people need, from what one turn costs. Pure. */
export function scale(people: number, { node, database }: Measured): Line {
  const turns = (people * ASSUMED.active) / ASSUMED.pause
  const cores = (cpu: number) => (turns * cpu) / 1e6 / ASSUMED.busy
  // One more than the work needs, so that one may go; a node's work is one core's.
  const nodes = Math.max(1, Math.ceil(cores(node.cpu))) + 1
  const databaseCores = Math.max(1, Math.ceil(cores(database.cpu)))
  return {
    people,
    turns,
    nodes,
    databaseCores,
    connections: nodes * ASSUMED.connections,
    log: (turns * database.log) / 1e6,
    data: (people * ASSUMED.questionsADay * 365 * database.data) / 1e9,
    pages: (people * ASSUMED.pages * ASSUMED.page) / 1e3 / nodes,
    shards: Math.ceil(databaseCores / ASSUMED.largestDatabase),
  }
}

const figure = (value: number) => (value >= 100 ? Math.round(value) : Number(value.toPrecision(2))).toLocaleString('en-US')

/** The table in one language. */
export function scalingTable(measured: Measured, language: 'en' | 'zh'): string {
  const heads = {
    en: [
      'People',
      'Turns/s at the peak',
      'Nodes',
      'PostgreSQL cores',
      'Connections',
      'Log MB/s',
      'Data GB a year',
      'Pages, MB a node',
      'Databases',
    ],
    zh: ['用户数', '高峰轮次/秒', '节点', 'PostgreSQL 核数', '连接数', '日志 MB/s', '数据 GB/年', '网页连接 MB/节点', '数据库数'],
  }[language]
  const rows = SIZES.map((people) => scale(people, measured)).map((line) =>
    [line.people, line.turns, line.nodes, line.databaseCores, line.connections, line.log, line.data, line.pages, line.shards].map(figure),
  )
  return [heads, heads.map(() => '---:'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

const MARKS = ['<!-- written by scripts/scaling.ts -->', '<!-- end -->'] as const
const pages = { en: join(root, 'docs/scaling.md'), zh: join(root, 'docs/scaling.zh.md') }
export const readMeasured = () => JSON.parse(readFileSync(join(root, 'bench/figures.json'), 'utf8')) as Measured

/** The page as it should be. */
export function pageWithTable(language: 'en' | 'zh'): string {
  const text = readFileSync(pages[language], 'utf8')
  const [before = '', rest = ''] = text.split(MARKS[0])
  return `${before}${MARKS[0]}\n\n${scalingTable(readMeasured(), language)}\n\n${MARKS[1]}${rest.split(MARKS[1])[1] ?? ''}`
}

if (import.meta.main) for (const language of ['en', 'zh'] as const) writeFileSync(pages[language], pageWithTable(language))
