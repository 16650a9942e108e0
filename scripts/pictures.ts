/**
 * Takes the pictures of docs/pictures anew: a real gateway, a real browser, a conversation that the model emulator plays.
 *
 *   node scripts/run.mjs scripts/pictures.ts
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createModelEmulator } from '@posthouse/testkit'
import { openBrowser } from '../packages/server/test/journeys/browser.ts'
import { createPosthouse } from '../packages/server/test/journeys/posthouse.ts'

const folder = join(import.meta.dirname, '../docs/pictures')

interface Words {
  readonly locale: string
  readonly name: string
  readonly field: string
  readonly send: string
  readonly answer: string
  readonly newChat: string
  readonly earlier: readonly string[]
  readonly question: string
  readonly reply: string
}

const english: Words = {
  locale: 'en-GB',
  name: 'Mei',
  field: 'Message',
  send: 'Send',
  answer: 'Answer',
  newChat: 'New chat',
  earlier: ['Turn the meeting notes into five bullet points', 'A birthday rhyme for a man who loves trains', 'Why does bread rise?'],
  question: 'Two days on the old Tea Horse Road around Shaxi, on foot. A short plan please, and how do I ask for a room?',
  reply: `Shaxi was a market town of the caravans, and the stages around it are easy walks.

| Day | Stage | On foot | Worth the stop |
| --- | --- | --- | --- |
| 1 | Sideng market → Yujin bridge → Changle | 3 h | the old theatre, the bridge at dusk |
| 2 | Changle → Shibaoshan cliff temples | 4 h | grottoes of the Nanzhao kingdom, monkeys |

Take water for the second day: there is no shop after the last field.

At the door you ask for a room with:

> **请问，今晚还有房间吗？** · *Qǐngwèn, jīnwǎn hái yǒu fángjiān ma?*`,
}

const chinese: Words = {
  locale: 'zh-CN',
  name: '小梅',
  field: '消息',
  send: '发送',
  answer: '回答',
  newChat: '新对话',
  earlier: [],
  question: '把“驿站”讲给八岁的孩子听，三句话。再给我一个小表格：古代驿站和今天的快递。',
  reply: `很久以前，送信的人骑着马一站一站地跑。每到一个**驿站**，他就换一匹休息好的马，继续赶路。这样，再远的信也能平安送到。

| | 古代驿站 | 今天的快递 |
| --- | --- | --- |
| 靠什么跑 | 马 | 货车、飞机 |
| 怎么接力 | 换马换人 | 转运中心 |
| 怎么知道到了 | 盖印签收 | 手机通知 |

要不要我再画一张接力的路线图？`,
}

async function takePicture(words: Words, file: string, look: { width: number; height: number; theme: 'light' | 'dark'; scale: number }) {
  const { locale, question, earlier } = words
  await using model = await createModelEmulator({
    keys: 'any',
    models: 'any',
    reply: ({ text }) => (text === question ? words.reply : 'With pleasure.'),
  })
  await using posthouse = createPosthouse({
    models: { endpoints: { 'deepseek-chat': { api: 'openai', base_url: `${model.url}/v1`, model: 'deepseek-chat' } } },
  })
  await posthouse.start()
  await using browser = await openBrowser({
    locale,
    viewport: { width: look.width, height: look.height },
    deviceScaleFactor: look.scale,
    colorScheme: look.theme,
    reducedMotion: 'reduce',
    ...(look.width < 600 ? { isMobile: true, hasTouch: true } : {}),
  })
  const { page } = browser
  await page.goto(`${posthouse.url}/#setup=${posthouse.setupToken}`)
  await page.locator('input[name=username]').fill(words.name)
  await page.locator('input[name=password]').fill('four horses, one letter')
  await page.locator('button[type=submit]').click()
  const ask = async (text: string) => {
    await page.getByRole('textbox', { name: words.field, exact: true }).fill(text)
    await page.getByRole('button', { name: words.send, exact: true }).click()
    await page.locator(`article[aria-label="${words.answer}"][aria-busy="false"]`).waitFor()
  }
  for (const text of earlier) {
    await ask(text)
    await page.getByRole('button', { name: words.newChat }).first().click()
    await page.locator('article').first().waitFor({ state: 'detached' })
  }
  await ask(question)
  // Nothing has the focus, and the thread shows its beginning.
  await page.evaluate("document.activeElement?.blur(); for (const box of document.querySelectorAll('section')) box.scrollTop = 0")
  await page.screenshot({ path: join(folder, file), animations: 'disabled' })
}

mkdirSync(folder, { recursive: true })
await takePicture(english, 'web-chat-light.png', { width: 1200, height: 780, theme: 'light', scale: 1.5 })
await takePicture(english, 'web-chat-dark.png', { width: 1200, height: 780, theme: 'dark', scale: 1.5 })
await takePicture(chinese, 'web-chat-phone.png', { width: 390, height: 780, theme: 'light', scale: 1.5 })
