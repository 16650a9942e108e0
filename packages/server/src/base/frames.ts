/** Where an error happened. */

const MOST_FRAMES = 20

/** The frames of its stack. The lines before them repeat the message, which may quote anything. */
export function framesOf(error: Error): string {
  const frames = (error.stack ?? '').split('\n').filter((line) => /^\s+at \S/.test(line))
  return frames.slice(0, MOST_FRAMES).join('\n')
}
