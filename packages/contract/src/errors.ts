/** Errors that leave the gateway: a code, what happened, whether the message is safe, what to do. */

/** Code -> HTTP status and words in both languages. docs/reference/errors.md lists the same codes; a test compares them. */
export const errorTable = {
  unauthorized: {
    status: 401,
    en: 'Not signed in, or the token is not valid. Sign in again, or create a token with `posthouse token create`.',
    zh: '未登录，或令牌无效。请重新登录，或用 `posthouse token create` 创建令牌。',
  },
  forbidden: {
    status: 403,
    en: 'This is not allowed for you. Ask the administrator for the missing permission.',
    zh: '你没有此权限。请向管理员申请。',
  },
  'not-found': { status: 404, en: 'There is no such thing here. Check the id.', zh: '找不到该内容。请检查 ID。' },
  gone: {
    status: 410,
    en: 'This link was used already or has expired. Run `posthouse start` again to get a new one while no account exists.',
    zh: '该链接已使用或已过期。尚无账户时，重新运行 `posthouse start` 可得到新链接。',
  },
  invalid: { status: 400, en: 'The request is not valid. The detail names the field.', zh: '请求无效。详情中指出了具体字段。' },
  'too-large': { status: 413, en: 'This is larger than allowed. Send less.', zh: '内容超过上限。请减小后重试。' },
  'no-room': {
    status: 413,
    en: 'There is no room for more files. Delete conversations with files, or ask the administrator to raise the limit.',
    zh: '文件空间已满。请删除带有文件的对话，或请管理员提高上限。',
  },
  'address-refused': {
    status: 400,
    en: 'This address may not be fetched. Name a public http or https address; others are opened by the administrator (security.private_addresses).',
    zh: '不允许访问该地址。请使用公网 http 或 https 地址；其他地址须由管理员在 security.private_addresses 中开放。',
  },
  unsupported: { status: 415, en: 'This content type is not accepted here.', zh: '此处不接受该内容类型。' },
  'rate-limited': {
    status: 429,
    en: 'Too many requests. Wait as long as Retry-After says.',
    zh: '请求过于频繁。请按 Retry-After 所示等待。',
  },
  overloaded: {
    status: 503,
    en: 'The queue is full. Nothing was accepted; send again after Retry-After.',
    zh: '队列已满，本次未受理。请在 Retry-After 之后重发。',
  },
  unavailable: {
    status: 503,
    en: 'The database does not take writes now. Nothing was accepted; send again later.',
    zh: '数据库暂时无法写入，本次未受理。请稍后重发。',
  },
  handed: {
    status: 409,
    en: 'A person answers in this conversation now. Your message is kept; what they say will be in the history.',
    zh: '该对话现由人工解答。你的消息已保存；对方的答复会出现在历史记录中。',
  },
  'model-failed': {
    status: 502,
    en: 'No model gave an answer. Your message is kept; send it again or ask the administrator.',
    zh: '没有模型给出回答。你的消息已保存；可重新发送或联系管理员。',
  },
  timeout: {
    status: 504,
    en: 'The answer took too long. Your message is kept; the answer will be in the history.',
    zh: '回答超时。你的消息已保存；答复会出现在历史记录中。',
  },
  internal: { status: 500, en: 'Something went wrong here. The log has the error id.', zh: '内部错误。请凭错误编号查看日志。' },
} as const satisfies Record<string, { status: number; en: string; zh: string }>

export type ErrorCode = keyof typeof errorTable

/** An error with a code of {@link errorTable}. `detail` is shown to whoever caused it: no secrets, no paths. */
export class PosthouseError extends Error {
  readonly code: ErrorCode
  readonly detail: string | undefined
  /** Milliseconds to wait at least. */
  readonly retryAfter: number | undefined
  constructor(code: ErrorCode, detail?: string, options: { retryAfter?: number; cause?: unknown } = {}) {
    super(detail ? `${code}: ${detail}` : code, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'PosthouseError'
    this.code = code
    this.detail = detail
    this.retryAfter = options.retryAfter
  }
}

/** Recognised by shape, since a plugin may carry its own copy of this package. */
export function isPosthouseError(error: unknown): error is PosthouseError {
  return error instanceof Error && error.name === 'PosthouseError' && (error as PosthouseError).code in errorTable
}
