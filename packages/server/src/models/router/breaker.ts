/** Spares an endpoint that keeps failing: opens after some failures in a row, then lets one call at a time probe. */

export interface BreakerOptions {
  /** Failures in a row that open it. */
  readonly threshold: number
  /** Milliseconds until the first probe; doubled after each failed one, up to the cap. */
  readonly coolDown: number
  readonly maxCoolDown: number
  /** Milliseconds that only rise. */
  readonly elapsed: () => number
}

export type BreakerState = 'closed' | 'open' | 'half-open'

/** A permission to call. Tell it exactly one outcome. */
export interface Pass {
  succeeded(): void
  failed(): void
  /** The call says nothing about the endpoint: it was cancelled, or never made. */
  dropped(): void
}

export interface Breaker {
  /** `half-open`: a probe is due or under way. */
  readonly state: BreakerState
  /** Milliseconds until a probe may be made; 0 when calls pass. */
  readonly wait: number
  /** Undefined while open, and while another call probes. */
  enter(): Pass | undefined
}

export function createBreaker({ threshold, coolDown, maxCoolDown, elapsed }: BreakerOptions): Breaker {
  let failures = 0
  let pause = coolDown
  /** When the next probe may start; undefined while closed. */
  let probeAt: number | undefined
  let probing = false

  const open = () => {
    probeAt = elapsed() + pause
    pause = Math.min(pause * 2, maxCoolDown)
  }
  return {
    get state() {
      return probeAt === undefined ? 'closed' : probing || elapsed() >= probeAt ? 'half-open' : 'open'
    },
    get wait() {
      return probeAt === undefined ? 0 : Math.max(0, probeAt - elapsed())
    },
    enter() {
      const probe = probeAt !== undefined
      if (probeAt !== undefined && (probing || elapsed() < probeAt)) return undefined
      if (probe) probing = true
      let told = false
      const tell = (outcome: () => void) => () => {
        if (told) return
        told = true
        if (probe) probing = false
        outcome()
      }
      return {
        succeeded: tell(() => {
          failures = 0
          // A call that began before it opened proves nothing about now; only a probe closes it.
          if (!probe && probeAt !== undefined) return
          probeAt = undefined
          pause = coolDown
        }),
        failed: tell(() => {
          failures += 1
          if (probe || (probeAt === undefined && failures >= threshold)) open()
        }),
        dropped: tell(() => {}),
      }
    },
  }
}
