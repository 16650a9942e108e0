// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are the configuration's own placeholders
/** The demo's sentences, in both languages. */

export type Language = 'en' | 'zh'

export interface Texts {
  readonly honest: string
  heard(question: string, count: number): string
  readonly able: string
  readonly picture: string
  readonly table: string
  readonly code: string
  readonly list: string
  readonly long: string
  readonly configure: string
  readonly pointer: string
}

const yaml = (comment: readonly [string, string, string, string]) => `\`\`\`yaml
models:
  primary: deepseek
  endpoints:
    # ${comment[0]}
    deepseek: { api: openai, base_url: "https://api.deepseek.com/v1", api_key: "\${env:DEEPSEEK_API_KEY}", model: deepseek-chat }
    # ${comment[1]}
    qwen: { api: openai, base_url: "https://dashscope.aliyuncs.com/compatible-mode/v1", api_key: "\${env:DASHSCOPE_API_KEY}", model: qwen-plus }
    # ${comment[2]}
    local: { api: openai, base_url: "http://127.0.0.1:11434/v1", model: qwen3 }
    # ${comment[3]}
    claude: { api: anthropic, api_key: "\${env:ANTHROPIC_API_KEY}", model: claude-sonnet-4-5 }
\`\`\``

const code = `\`\`\`js
for (const word of ['post', 'house']) {
  console.log(word.toUpperCase())
}
\`\`\``

const paragraphsEn = [
  'A posthouse was a stop on a long road where a courier found a fresh horse, a meal and the next stretch of the way.',
  'The letter never waited for the tired horse: it went on with the next one, and the road between two houses was never longer than one horse could run.',
  'Each house kept a book in which every letter was written down before the courier might rest, so that none was lost and none was carried twice.',
  'When a bridge was out, the courier took the other road; when night fell, a lantern at the gate showed that somebody was awake.',
]

const paragraphsZh = [
  '驿站是漫长道路上的一处停留：信使在这里换上新马，吃一顿热饭，问清下一程的路。',
  '信从不等疲惫的马：它随下一匹马继续上路，而两站之间的路，不会超过一匹马能跑的距离。',
  '每座驿站都有一本簿册，信使歇脚之前，每封信都先登记在册，因此不会遗失，也不会送两次。',
  '桥断了，信使就走另一条路；入夜以后，门口的灯笼说明里面有人醒着。',
]

function long(paragraphs: readonly string[], heading: (n: number) => string): string {
  return Array.from(
    { length: 12 },
    (_, n) => `### ${heading(n + 1)}\n\n${paragraphs.map((_p, k) => paragraphs[(k + n) % paragraphs.length]).join(' ')}`,
  ).join('\n\n')
}

export const texts: Readonly<Record<Language, Texts>> = {
  en: {
    honest:
      '**This is a demo.** I am a small built-in program, not a language model: I follow a few rules, understand nothing, and nothing leaves this machine.',
    heard: (question, count) =>
      (question ? `You wrote: “${question}”.` : 'Your message has no text.') +
      (count > 1 ? ` It is message ${count} of yours that I see in this conversation.` : ''),
    able: 'I can show how answers look here. Ask for **a table**, **code** or **a list**, or write “write something long” and press stop in the middle.',
    picture: 'There is a picture in your message. I cannot see pictures; many real models can.',
    table:
      'A table:\n\n| Ask for | You see |\n| --- | --- |\n| table | this |\n| code | a block with a copy button |\n| something long | an answer that you can stop |',
    code: `Some code:\n\n${code}`,
    list: 'A list:\n\n- one point\n- another one\n  - with a point below\n- a last one\n\n1. first\n2. second',
    long: `Something long, so that you can try to stop it:\n\n${long(paragraphsEn, (n) => `Stretch ${n}`)}`,
    configure: `To get real answers, put a model into \`posthouse.yaml\` (one endpoint is enough) and save the file:\n\n${yaml([
      'any service with an OpenAI-compatible address; DeepSeek, for example',
      'Qwen',
      'a model on your own machine with Ollama, no key needed',
      'Anthropic',
    ])}\n\nKeys belong into the environment, not into the file. \`posthouse model test\` asks the model once and says what is wrong.`,
    pointer: 'Ask me “how do I configure a model?” when you want real answers.',
  },
  zh: {
    honest: '**这是演示**。我是内置的小程序，不是语言模型：只按几条规则作答，什么也不理解；任何内容都不会离开这台机器。',
    heard: (question, count) =>
      (question ? `你写的是：“${question}”。` : '你的消息里没有文字。') +
      (count > 1 ? `这是我在本次对话中看到的你的第 ${count} 条消息。` : ''),
    able: '我可以展示回答在这里的样子。可以要**表格**、**代码**或**列表**；也可以说“写一篇长文”，然后在中途点停止。',
    picture: '你的消息里有图片。我看不到图片；许多真正的模型可以。',
    table:
      '表格：\n\n| 你要 | 你会看到 |\n| --- | --- |\n| 表格 | 就是这个 |\n| 代码 | 带复制按钮的代码块 |\n| 长文 | 可以中途停止的回答 |',
    code: `一段代码：\n\n${code}`,
    list: '列表：\n\n- 第一点\n- 第二点\n  - 下面还有一点\n- 最后一点\n\n1. 先做这个\n2. 再做那个',
    long: `下面是一篇长文，你可以试着中途停止：\n\n${long(paragraphsZh, (n) => `第 ${n} 程`)}`,
    configure: `想得到真正的回答，请在 \`posthouse.yaml\` 中写入一个模型（一个端点就够）并保存：\n\n${yaml([
      '任何兼容 OpenAI 接口的服务，例如 DeepSeek',
      '通义千问',
      '用 Ollama 在自己的机器上运行，不需要密钥',
      'Anthropic',
    ])}\n\n密钥应放在环境变量里，不要写进文件。\`posthouse model test\` 会向模型提一次问，并指出哪里不对。`,
    pointer: '想要真正的回答，可以问我“怎么配置模型？”。',
  },
}
