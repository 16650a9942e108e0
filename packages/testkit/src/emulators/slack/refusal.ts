/** Slack's way to refuse: HTTP 200 and a word. https://docs.slack.dev/apis/web-api#responses */
export class Refusal extends Error {
  /** What stands beside the word in the answer. */
  readonly more: Readonly<Record<string, unknown>>
  constructor(code: string, more: Readonly<Record<string, unknown>> = {}) {
    super(code)
    this.name = 'Refusal'
    this.more = more
  }
}
