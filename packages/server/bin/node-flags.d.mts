/** Flags of Node for everything that runs from source. */
export const nodeFlags: readonly string[]
