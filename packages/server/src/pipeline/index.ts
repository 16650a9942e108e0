/** The pipeline's door. */
export { chosenModel, switchEverywhere } from './converse/model-choice.ts'
export { createPipeline } from './pipeline.ts'
