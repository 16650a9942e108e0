/** Numbers and dates in the reader's language. */
import { preferences } from './preferences.ts'

export function formatSize(bytes: number): string {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte'] as const
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10))
  const style = { style: 'unit', unit: units[power], unitDisplay: 'short', maximumFractionDigits: power > 1 ? 1 : 0 } as const
  return new Intl.NumberFormat(preferences().language, style).format(bytes / 1024 ** power)
}

export function formatTime(at: number): string {
  return new Intl.DateTimeFormat(preferences().language, { dateStyle: 'medium', timeStyle: 'short' }).format(at)
}

export type Age = 'today' | 'yesterday' | 'week' | 'older'

/** How many midnights ago, in classes. */
export function ageOf(at: number, now: number): Age {
  const midnight = new Date(now)
  midnight.setHours(0, 0, 0, 0)
  const day = 24 * 60 * 60 * 1000
  if (at >= midnight.getTime()) return 'today'
  if (at >= midnight.getTime() - day) return 'yesterday'
  return at >= midnight.getTime() - 7 * day ? 'week' : 'older'
}
