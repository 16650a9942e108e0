/** The pipeline's door. */
export { commandNames } from './converse/commands.ts'
export { chosenModel, switchEverywhere } from './converse/model-choice.ts'
export { createPipeline } from './pipeline.ts'
