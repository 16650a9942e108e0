/** The pipeline's door. */
export { chosenModel, switchEverywhere } from './converse/model-choice.ts'
export { parseMarkdown } from './markdown.ts'
export { createPipeline } from './pipeline.ts'
