/** Models as the turn sees them: one stream, whichever endpoint answers. */
import type { ModelEvent, ModelRequest, Priority } from '@posthouse/contract'

/** `using`: this endpoint answers from here on; a fallback in mid-stream continues the same text. */
export type RouterEvent = ModelEvent | { readonly type: 'using'; readonly model: string; readonly fallback: boolean }

export interface EndpointInfo {
  readonly id: string
  readonly provider: string
  readonly vision: boolean
  /** Tells one set of settings from another. */
  readonly digest: string
}

export interface Models {
  readonly endpoints: readonly EndpointInfo[]
  stream(
    request: ModelRequest,
    options: { readonly primary: string; readonly priority: Priority },
    signal: AbortSignal,
  ): AsyncIterable<RouterEvent>
}
