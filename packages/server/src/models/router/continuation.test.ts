import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { createSeam } from './continuation.ts'

/** Joins a continuation that arrives in chunks. */
function join(partial: string, chunks: readonly string[]): string {
  const seam = createSeam(partial)
  return partial + chunks.map((chunk) => seam.push(chunk)).join('') + seam.flush()
}

/** Cuts `text` into chunks whose lengths go round through `sizes`. */
function chop(text: string, sizes: readonly number[]): readonly string[] {
  const chunks: string[] = []
  for (let at = 0, n = 0; at < text.length; n += 1) {
    const size = sizes[n % sizes.length] ?? 1
    chunks.push(text.slice(at, at + size))
    at += size
  }
  return chunks
}

const letters = [
  ...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 \n#*|`-，。的一是不了在人有我他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生',
]

/** Texts in which no two places look alike: every letter occurs once. */
const unique = fc.shuffledSubarray(letters, { minLength: 1 }).map((list) => list.join(''))
const sizes = fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 5 })

describe('continuation', () => {
  it('gives the whole text once, cut anywhere, with any repetition that counts', () => {
    fc.assert(
      fc.property(unique, fc.nat(), fc.nat(), sizes, (text, cutSeed, overlapSeed, chunkSizes) => {
        const cut = cutSeed % (text.length + 1)
        const least = Math.min(8, cut)
        // Nothing is repeated, or at least what counts as a repetition: 8 characters, or all of a shorter partial.
        const overlap = overlapSeed % 2 === 0 ? 0 : least + ((overlapSeed >> 1) % (cut - least + 1))
        const continuation = text.slice(cut - overlap)
        assert.equal(join(text.slice(0, cut), chop(continuation, chunkSizes)), text)
      }),
      { numRuns: 2000 },
    )
  })

  it('never loses what is new, whatever the texts', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', 'b', ' ') }),
        fc.string({ unit: fc.constantFrom('a', 'b', ' ') }),
        sizes,
        (partial, more, chunkSizes) => {
          const whole = join(partial, chop(more, chunkSizes))
          assert.ok(whole.startsWith(partial))
          const dropped = more.slice(0, partial.length + more.length - whole.length)
          assert.equal(whole, partial + more.slice(dropped.length))
          assert.ok(partial.endsWith(dropped), 'only a repetition of the end is dropped')
          assert.ok(dropped === '' || dropped.length >= Math.min(8, partial.length))
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('drops the longest repetition', () => {
    assert.equal(
      join('one two three, one two three', ['one two three', ', one two three and four']),
      'one two three, one two three and four',
    )
  })

  it('keeps a short agreement: it is chance', () => {
    assert.equal(join('It was a long day', ['day', 's later']), 'It was a long daydays later')
  })

  it('drops a beginning anew of a short partial', () => {
    assert.equal(join('Hel', ['H', 'ello']), 'Hello')
  })

  it('holds back no more than may be a repetition', () => {
    const seam = createSeam('The rain in Spain')
    assert.equal(seam.push('Xylophones'), 'Xylophones')
    assert.equal(seam.push(' in Spain'), ' in Spain', 'once it is decided, everything passes')
    const holding = createSeam('The rain in Spain')
    assert.equal(holding.push('in S'), '')
    assert.equal(holding.flush(), 'in S')
  })
})
