/** Settings described as data: a JSON Schema of the few forms that settings need, with titles in both languages. */

/** A text in both languages of the product. */
export interface Bilingual {
  readonly en: string
  readonly zh: string
}

export interface Field {
  /** `any`: kept as it is written. */
  readonly type: 'string' | 'integer' | 'number' | 'boolean' | 'array' | 'object' | 'any'
  readonly description: Bilingual
  /** `secret` is never shown or logged; `duration` (`30s`) becomes milliseconds, `size` (`50MB`) bytes. */
  readonly format?: 'secret' | 'duration' | 'size' | 'url'
  readonly enum?: readonly string[]
  readonly default?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly pattern?: string
  readonly examples?: readonly unknown[]
  /** Elements of an `array`; `id` stands for a string or an integer (platform ids), which arrives as a string. */
  readonly items?: { readonly type: 'string' | 'integer' | 'id' }
  /** Fields of an `object`; without them it is a map from names to strings. */
  readonly fields?: Readonly<Record<string, Field>>
  readonly required?: readonly string[]
}

/** The settings of a channel, a model provider or a plugin. `S` is their shape after parsing. */
export interface Schema<S> {
  readonly fields: { readonly [K in keyof S & string]-?: Field }
  readonly required: readonly (keyof S & string)[]
  /** Rules over several fields. Answers the problems found, with the field that each belongs to; a text alone is shown to everybody. */
  readonly check?: (settings: S) => readonly { readonly field: keyof S & string; readonly problem: string | Bilingual }[]
}
