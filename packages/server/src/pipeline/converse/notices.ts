/** What the gateway itself says to people, in both languages. */
import { textOf } from '@posthouse/contract'
import type { StoredMessage, Turn } from '../../ports/store.ts'

export type Language = 'en' | 'zh'

const notices = {
  denied: {
    en: (id: string) => `Access denied. Your id here is \`${id}\`; the owner can add it to \`allowed_users\`.`,
    zh: (id: string) => `没有访问权限。你在此处的 ID 是 \`${id}\`，管理员可将其加入 \`allowed_users\`。`,
  },
  quarantined: {
    en: () => 'Your message could not be worked on: it failed three times. It is kept for the administrator. Please try it in other words.',
    zh: () => '你的消息未能处理：已连续失败三次，现已留给管理员查看。请换个说法再试。',
  },
  failed: {
    en: () => 'No model could answer just now. Your message is kept; please send it again in a moment.',
    zh: () => '暂时没有模型能够回答。你的消息已保存，请稍后重新发送。',
  },
  empty: {
    en: () => 'The model gave an empty answer. Please ask again, perhaps in other words.',
    zh: () => '模型给出了空回答。请换个说法再问一次。',
  },
  cut: {
    en: () => '_(The answer reached its length limit. Write "continue" for the rest.)_',
    zh: () => '_（回答达到长度上限。发送“继续”可获取剩余部分。）_',
  },
  toolUnknown: {
    en: (name: string) =>
      `_(The tool \`${name}\` was interrupted: whether it took effect is not known, and it was not run again. Please check before you ask for it once more.)_`,
    zh: (name: string) => `_（工具 \`${name}\` 的调用被中断：无法确定是否已生效，也没有再次执行。请先核实，再决定是否重新要求。）_`,
  },
  fileFailed: {
    en: (name: string, reason: string) => `_(The file ${name} could not be read: ${reason}.)_`,
    zh: (name: string, reason: string) => `_（无法读取文件 ${name}：${reason}。）_`,
  },
  forgotten: {
    en: () => 'A new conversation begins. What was said before is no longer taken into account.',
    zh: () => '新的对话开始了，之前的内容不再参与回答。',
  },
  flooded: {
    en: () => 'That was too much at once: what came in last was not taken. Please send it again when the answers have caught up.',
    zh: () => '消息太多，最后收到的几条未被受理。请等回答跟上后再发送。',
  },
  handed: {
    en: () => 'A person answers you here from now on.',
    zh: () => '接下来由人工为你解答。',
  },
  stopped: { en: () => 'Stopped.', zh: () => '已停止。' },
  model: {
    en: (current: string, all: string) => `This conversation uses **${current}**. Available: ${all}. Switch with \`/model NAME\`.`,
    zh: (current: string, all: string) => `当前对话使用 **${current}**。可用模型：${all}。发送 \`/model 名称\` 可切换。`,
  },
  modelSwitched: {
    en: (name: string) => `From now on this conversation uses **${name}**.`,
    zh: (name: string) => `此对话从现在起使用 **${name}**。`,
  },
  modelUnknown: {
    en: (name: string, all: string) => `There is no model named "${name}". Available: ${all}.`,
    zh: (name: string, all: string) => `没有名为“${name}”的模型。可用模型：${all}。`,
  },
  modelForbidden: {
    en: () => 'Only people listed in `allowed_users` may switch the model.',
    zh: () => '只有列入 `allowed_users` 的用户才能切换模型。',
  },
  help: {
    en: () =>
      'Write a message and the assistant answers.\n\n- `/new` begins a new conversation\n- `/stop` stops the answer that is being written\n- `/model` shows or switches the model\n- `/help` shows this',
    zh: () =>
      '直接发送消息，助手就会回答。\n\n- `/new` 开始新的对话\n- `/stop` 停止正在生成的回答\n- `/model` 查看或切换模型\n- `/help` 显示本帮助',
  },
} as const satisfies Record<string, Record<Language, (...words: string[]) => string>>

export type NoticeName = keyof typeof notices

/** The words of a notice. */
export function noticeText<N extends NoticeName>(name: N, language: Language, ...words: Parameters<(typeof notices)[N]['en']>): string {
  return (notices[name][language] as (...all: string[]) => string)(...words)
}

/** The language that a text is written in, or `otherwise` when it does not show. */
export function languageIn(text: string, otherwise: Language): Language {
  if (/\p{Script=Han}/u.test(text)) return 'zh'
  return /[a-z]{2}/i.test(text) && !text.startsWith('/') ? 'en' : otherwise
}

/** The language of the people in a turn: what they write in, else what their platform says. */
export const languageOf = ({ messages }: Turn): Language => languageOfMessage(messages.at(-1))

/** That of a person's words; where they tell none, what the platform says of the person. */
export function languageOfMessage(message: Pick<StoredMessage, 'body'> | undefined): Language {
  const told = message?.body.author?.language?.toLowerCase().startsWith('zh') ? 'zh' : 'en'
  return languageIn(message ? textOf(message.body.parts) : '', told)
}
