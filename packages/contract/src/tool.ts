/** A tool as a model sees it. */
export interface ToolDeclaration {
  readonly name: string
  readonly description: string
  /** JSON Schema of the arguments. */
  readonly parameters: Readonly<Record<string, unknown>>
}
