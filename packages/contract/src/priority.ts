/** Classes of work: who goes first when not everything can be done at once. */

/** Lower goes first: somebody looks at the screen; somebody expects an answer and does not watch; in bulk, whenever there is time. */
export const priorities = { interactive: 0, normal: 1, background: 2 } as const
export type PriorityName = keyof typeof priorities
export type Priority = (typeof priorities)[PriorityName]
export const priorityNames = Object.keys(priorities) as readonly PriorityName[]
