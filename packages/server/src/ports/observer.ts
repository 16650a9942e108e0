/** What the parts tell about themselves; metrics are made of it. No ids, no content. Durations in milliseconds. */
export interface Observer {
  admitted(fact: { readonly channel: string; readonly status: string; readonly took: number }): void
  turnEnded(fact: { readonly outcome: string; readonly took: number; readonly own: number; readonly firstToken: number | undefined }): void
  modelCalled(fact: { readonly endpoint: string; readonly outcome: string; readonly took: number }): void
  delivered(fact: { readonly channel: string; readonly result: string; readonly took: number }): void
}
