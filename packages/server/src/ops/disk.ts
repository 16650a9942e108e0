/** How much room is left. */
import { statfs } from 'node:fs/promises'

/** Free part (0 to 1) of the disk that holds `folder`. */
export async function freeRatio(folder: string): Promise<number> {
  const { bavail, blocks } = await statfs(folder)
  return blocks === 0 ? 1 : bavail / blocks
}
