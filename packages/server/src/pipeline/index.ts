/** The pipeline's door. */
export { commandNames } from './converse/commands.ts'
export { chosenModel, switchEverywhere } from './converse/model-choice.ts'
export type { Assistant } from './converse/turn.ts'
export { createPipeline, type Pipeline, type PipelineParts } from './pipeline.ts'
export type { Origin } from './receive/accept.ts'
