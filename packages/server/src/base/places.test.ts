import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Priority, priorities } from '@posthouse/contract'
import { createPlaces, placesFor } from './places.ts'

const { interactive, normal, background } = priorities
const fill = (all: number, priority: Priority) => {
  const places = createPlaces(all)
  while (places.mayTake(priority)) places.take(priority)
  return places
}

describe('places', () => {
  it('are kept for the classes before: background fills half, normal three quarters, interactive all', () => {
    const places = fill(8, background)
    assert.equal(places.taken, 4)
    while (places.mayTake(normal)) places.take(normal)
    assert.equal(places.taken, 6)
    while (places.mayTake(interactive)) places.take(interactive)
    assert.equal(places.taken, 8)
    const open = () => [background, normal, interactive].map(places.mayTake)
    assert.deepEqual(open(), [false, false, false])
    places.giveBack(interactive)
    assert.deepEqual(open(), [false, false, true])
    places.giveBack(normal)
    assert.deepEqual(open(), [false, true, true])
    places.giveBack(background)
    places.take(normal)
    assert.deepEqual(open(), [true, true, true])
    places.take(normal)
    assert.deepEqual(open(), [false, false, true], 'what is behind fills no more of what those before it share')
  })

  it('are never more than there are, and never none', () => {
    const places = fill(8, interactive)
    assert.equal(places.taken, 8)
    places.giveBack(interactive)
    places.take(background)
    assert.equal(places.mayTake(interactive), false)
    for (const priority of [interactive, normal, background]) assert.deepEqual([fill(1, priority).taken, placesFor(priority, 1)], [1, 1])
  })
})
