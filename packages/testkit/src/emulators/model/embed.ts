/** Vectors that mean something: texts that share words lie close together, the same text always at the same place. */
const SIZE = 64

export function vectorOf(text: string): readonly number[] {
  const vector = new Array<number>(SIZE).fill(0)
  const folded = ` ${text.toLowerCase()} `
  for (let start = 0; start + 2 <= folded.length; start += 1) {
    let hash = 2166136261
    for (let index = start; index < start + 3; index += 1) hash = Math.imul(hash ^ (folded.charCodeAt(index) || 32), 16777619)
    const place = (hash >>> 8) % SIZE
    vector[place] = (vector[place] ?? 0) + 1
  }
  const length = Math.hypot(...vector) || 1
  return vector.map((value) => value / length)
}
