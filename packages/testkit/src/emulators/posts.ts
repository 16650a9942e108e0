/** What a bot posted, as tests look at it: what stands there now, and waiting for what is to come. */

/** Something that a bot posted. */
export interface AnyPost {
  readonly text: string
  readonly deleted?: boolean
}

export interface Posts<P extends AnyPost> {
  /** Tells everybody who watches that `post` is new or was changed. */
  changed(post: P): void
  /** Calls back for every post that is new or changed. */
  watch(listener: (post: P) => void): Disposable
  /** The first post (already there, new or newly changed) for which `is` holds. Default time-out 5 s. */
  wait(is: (post: P) => boolean, timeout?: number): Promise<P>
}

/** Watches over `posts`, which the caller fills; `show` names one in an error. */
export function createPosts<P extends AnyPost>(posts: readonly P[], show: (post: P) => string): Posts<P> {
  const watchers = new Set<(post: P) => void>()
  return {
    changed(post) {
      for (const watch of watchers) watch(post)
    },
    watch(listener) {
      watchers.add(listener)
      return { [Symbol.dispose]: () => watchers.delete(listener) }
    },
    wait(is, timeout = 5000) {
      const there = posts.find((post) => !post.deleted && is(post))
      if (there) return Promise.resolve(there)
      return new Promise((resolve, reject) => {
        const end = () => {
          clearTimeout(timer)
          watchers.delete(look)
        }
        const look = (post: P) => {
          if (post.deleted || !is(post)) return
          end()
          resolve(post)
        }
        const timer = setTimeout(() => {
          end()
          const seen = posts.filter((post) => !post.deleted).slice(-20)
          reject(
            new Error(
              `nothing like it was posted within ${timeout} ms; posted was:\n${seen.map((post) => show(post).slice(0, 200)).join('\n')}`,
            ),
          )
        }, timeout)
        watchers.add(look)
      })
    },
  }
}
