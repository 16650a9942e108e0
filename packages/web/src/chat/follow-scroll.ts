/** Keeps the end of a growing thread in sight, until the reader scrolls up. */
import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react'

/** So near to the end counts as at the end (pixels). */
const NEAR = 64

export interface FollowScroll {
  readonly scroller: RefObject<HTMLDivElement | null>
  readonly content: RefObject<HTMLDivElement | null>
  /** False once the reader has scrolled up. */
  readonly following: boolean
  readonly jumpToEnd: (smooth?: boolean) => void
}

/** `place` changes with the conversation: then the thread starts at its end again. `onTop` is called near the beginning. */
export function useFollowScroll(place: string, first: string | undefined, onTop: () => void): FollowScroll {
  const scroller = useRef<HTMLDivElement>(null)
  const content = useRef<HTMLDivElement>(null)
  const follow = useRef(true)
  const [following, setFollowing] = useState(true)

  const setFollow = useCallback((next: boolean) => {
    follow.current = next
    setFollowing(next)
  }, [])

  const jumpToEnd = useCallback(
    (smooth = false) => {
      setFollow(true)
      const box = scroller.current
      box?.scrollTo({ top: box.scrollHeight, behavior: smooth ? 'smooth' : 'instant' })
    },
    [setFollow],
  )

  // biome-ignore lint/correctness/useExhaustiveDependencies: runs when the place changes
  useLayoutEffect(() => jumpToEnd(), [place, jumpToEnd])

  // What is put before the beginning must not push what is being read.
  const height = useRef(0)
  const knownFirst = useRef(first)
  useLayoutEffect(() => {
    const box = scroller.current
    if (!box) return
    if (knownFirst.current !== undefined && first !== knownFirst.current && !follow.current)
      box.scrollTop += box.scrollHeight - height.current
    knownFirst.current = first
    height.current = box.scrollHeight
  }, [first])

  useEffect(() => {
    const box = scroller.current
    const inside = content.current
    if (!box || !inside) return
    let lastTop = box.scrollTop
    let lastHeight = box.scrollHeight
    const onScroll = () => {
      const distance = box.scrollHeight - box.scrollTop - box.clientHeight
      // Going up by hand lets go; content that shrank moves the box as well, but nobody did that.
      if (box.scrollTop < lastTop - 1 && box.scrollHeight >= lastHeight && distance > 8) {
        if (follow.current) setFollow(false)
      } else if (distance < NEAR && !follow.current) setFollow(true)
      lastTop = box.scrollTop
      lastHeight = box.scrollHeight
      if (box.scrollTop < 400 && box.scrollHeight > box.clientHeight) onTop()
    }
    const grows = new ResizeObserver(() => {
      height.current = box.scrollHeight
      if (follow.current) box.scrollTop = box.scrollHeight
    })
    grows.observe(inside)
    grows.observe(box)
    box.addEventListener('scroll', onScroll, { passive: true })
    return () => {
      grows.disconnect()
      box.removeEventListener('scroll', onScroll)
    }
  }, [onTop, setFollow])

  return { scroller, content, following, jumpToEnd }
}
