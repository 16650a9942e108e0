/** Flags of Node for everything that runs from source. */
export const nodeFlags: readonly string[]
/** Variables of the environment for the same, unless told otherwise. */
export const nodeEnvironment: Readonly<Record<string, string>>
