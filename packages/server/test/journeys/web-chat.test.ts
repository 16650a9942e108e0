/** A person in front of the web chat: real browser, real gateway process, a model server at a pace that can be interrupted. */
import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { it } from 'node:test'
import { createModelEmulator, type ModelCall, type ModelPace } from '@posthouse/testkit'
import type { Page } from 'playwright-core'
import { noBrowser, openBrowser } from './browser.ts'
import { createPosthouse, until } from './posthouse.ts'

const built = join(import.meta.dirname, '../../../web/dist/index.html')
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const LIMIT = 15_000
const PASSWORD = 'four horses, one letter'
/** Fast enough to end soon, slow enough to be looked at; and so slow that it never ends unless somebody acts. */
const brisk: ModelPace = { firstToken: 50, interval: 15, chunkSize: 8 }
const slow: ModelPace = { firstToken: 50, interval: 120, chunkSize: 8 }

/** A long answer that names its question, so that no answer can be taken for another's. */
const answerTo = (question: string) =>
  `About ${question}: ${Array.from({ length: 12 }, (_, index) => `stage ${index + 1} is behind us`).join(', ')}. The letter is there.`

const reason = noBrowser ?? (existsSync(built) ? undefined : 'the web chat is not built: `npm test` builds it')
const ci = process.env.CI === 'true'

it('web chat in a real browser', { skip: ci ? false : (reason ?? false), timeout: 120_000 }, async (t) => {
  assert.equal(reason, undefined)
  await using model = await createModelEmulator({ keys: 'any', models: 'any', pace: brisk, reply: ({ text }) => answerTo(text) })
  await using posthouse = createPosthouse({
    models: { endpoints: { courier: { api: 'openai', base_url: `${model.url}/v1`, model: 'test-model' } } },
  })
  await posthouse.start()
  await using browser = await openBrowser()
  const { page } = browser
  page.setDefaultTimeout(LIMIT)
  await page.addInitScript(watchAlarms)

  const answers = page.locator('article[aria-label="Answer"]')
  const own = page.locator('article[aria-label="Your message"]')
  const field = page.getByRole('textbox', { name: 'Message', exact: true })
  const stopButton = page.getByRole('button', { name: 'Stop answering' })
  const write = async (text: string) => {
    await field.fill(text)
    await page.getByRole('button', { name: 'Send', exact: true }).click()
  }
  const answering = (question: string) => answers.filter({ hasText: `About ${question}:` }).and(page.locator('[aria-busy="true"]'))
  const answered = (question: string) => answers.filter({ hasText: answerTo(question) }).and(page.locator('[aria-busy="false"]'))
  const begun = (question: string) => answering(question).getByText('stage 2 is').waitFor()
  const callsFor = (question: string) => model.calls.filter((call) => call.question?.text === question)
  /** One complete answer, nothing beside it that says something went wrong. */
  const answeredOnce = async (question: string) => {
    await answered(question).waitFor()
    assert.equal(await answers.filter({ hasText: `About ${question}:` }).count(), 1)
    assert.equal(await own.filter({ hasText: question }).count(), 1)
    await noFalseAlarm(page)
  }

  await t.test('set-up link, name and password', async () => {
    await page.goto(`${posthouse.url}/#setup=${posthouse.setupToken}`)
    await page.getByRole('textbox', { name: 'Your name' }).fill('ann')
    await page.getByLabel('Choose a password').fill(PASSWORD)
    await accessible(page)
    await page.getByRole('button', { name: 'Create account' }).click()
    await field.waitFor()
    assert.equal(new URL(page.url()).hash, '', 'the link stays in the address')
    await accessible(page)
  })

  await t.test('an answer streams', async () => {
    await write('the first road')
    await begun('the first road')
    assert.ok(!(await answering('the first road').textContent())?.includes('The letter is there'), 'the answer came in one piece')
    await answeredOnce('the first road')
    await accessible(page)
  })

  await t.test('stop closes the call to the provider and keeps what is there', async () => {
    model.setPace(slow)
    await write('the long road')
    await begun('the long road')
    const pressed = Date.now()
    await stopButton.click()
    const call = await model.waitForCall(isClosedFor('the long road'))
    const took = (call.ended?.at ?? 0) - pressed
    assert.ok(took < 300, `the provider's call was closed ${took} ms after the click`)
    const stopped = answers.filter({ hasText: 'About the long road:' }).filter({ hasText: 'Stopped by you' })
    await stopped.and(page.locator('[aria-busy="false"]')).waitFor()
    assert.ok(!(await stopped.textContent())?.includes('The letter is there'))
    await field.waitFor()
    await noFalseAlarm(page)
  })

  await t.test('a reload in mid-answer loses nothing', async () => {
    await write('the reloaded road')
    await begun('the reloaded road')
    await page.reload()
    await begun('the reloaded road')
    model.setPace(brisk)
    await answeredOnce('the reloaded road')
    assert.equal(callsFor('the reloaded road').length, 1, 'the model was asked again')
  })

  await t.test('kill -9 in mid-answer: one complete answer, no false error', async () => {
    model.setPace(slow)
    await write('the broken road')
    await begun('the broken road')
    await posthouse.kill()
    model.setPace(brisk)
    await posthouse.start()
    await answeredOnce('the broken road')
    await page.reload()
    await answeredOnce('the broken road')
  })

  await t.test('written offline, sent once', async () => {
    await browser.offline(true)
    await write('the flooded road')
    await own.filter({ hasText: 'the flooded road' }).getByText('Goes out when the connection is back').waitFor()
    await page.reload().catch(() => {})
    await own.filter({ hasText: 'the flooded road' }).waitFor()
    assert.equal(callsFor('the flooded road').length, 0)
    await browser.offline(false)
    await answeredOnce('the flooded road')
    assert.equal(callsFor('the flooded road').length, 1)
  })

  await t.test('edit and send again, ask again', async () => {
    const message = own.filter({ hasText: 'the flooded road' })
    await message.hover()
    await message.getByRole('button', { name: 'Edit and send again' }).click()
    await until(async () => (await field.inputValue()) === 'the flooded road', 'the text stands in the field')
    await write('the dry road')
    await answeredOnce('the dry road')
    assert.equal(await own.filter({ hasText: 'the flooded road' }).count(), 0, 'the former version stands beside the new one')
    await answered('the dry road').getByRole('button', { name: 'Ask again' }).click()
    await until(() => callsFor('the dry road').length === 2, 'the model is asked again')
    await answeredOnce('the dry road')
    const asked = callsFor('the dry road')
      .at(-1)
      ?.question?.messages.filter(({ text }) => text === 'the dry road')
    assert.equal(asked?.length, 1, 'the model sees what was replaced')
    await own.filter({ hasText: 'the dry road' }).getByRole('group', { name: 'Versions of this message' }).getByText('3/3').waitFor()
  })

  await t.test('sign out, sign in', async () => {
    await page.getByRole('button', { name: 'Settings' }).click()
    await page.getByRole('dialog').getByText('Signed in as ann').waitFor()
    await accessible(page)
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByRole('heading', { name: 'Welcome back' }).waitFor()
    await accessible(page)
    const signIn = async (password: string) => {
      await page.getByRole('textbox', { name: 'Name' }).fill('ann')
      await page.getByLabel('Password', { exact: true }).fill(password)
      await page.getByRole('button', { name: 'Sign in' }).click()
    }
    await signIn('not the password')
    await page.getByText('Name and password don’t match.').waitFor()
    assert.deepEqual(
      await page.evaluate('globalThis.alarms.splice(0)'),
      ['Name and password don’t match.'],
      'the watch for alarms sees none',
    )
    await signIn(PASSWORD)
    await page.getByRole('navigation', { name: 'Conversations' }).getByRole('link').first().click()
    await answeredOnce('the dry road')
  })

  await t.test('in Chinese', async () => {
    await page.getByRole('button', { name: 'Settings' }).click()
    await page.getByText('简体中文').click()
    await page.keyboard.press('Escape')
    assert.equal(await page.locator('html').getAttribute('lang'), 'zh-CN')
    await page.getByRole('textbox', { name: '消息', exact: true }).fill('长安到洛阳有几站？')
    await page.getByRole('button', { name: '发送', exact: true }).click()
    const answer = page.locator('article[aria-label="回答"][aria-busy="false"]').filter({ hasText: answerTo('长安到洛阳有几站？') })
    await answer.waitFor()
    await accessible(page)
  })

  assert.deepEqual(browser.complaints, [])
})

const isClosedFor = (question: string) => (call: ModelCall) => call.question?.text === question && call.ended?.how === 'client-closed'

/** Runs in the page before anything else: notes every alarm that was ever shown, however short. */
const watchAlarms = `
  globalThis.alarms = []
  new MutationObserver(() => {
    for (const alarm of document.querySelectorAll('[role=alert], article .text-danger')) {
      if (alarm.textContent !== '' && !globalThis.alarms.includes(alarm.textContent)) globalThis.alarms.push(alarm.textContent)
    }
  }).observe(document, { childList: true, subtree: true, characterData: true })`

/** Since the page was loaded, nothing on it said that something went wrong. */
async function noFalseAlarm(page: Page): Promise<void> {
  assert.deepEqual(await page.evaluate('globalThis.alarms'), [])
}

interface Violation {
  readonly id: string
  readonly impact: string
  readonly nodes: readonly { readonly target: readonly string[] }[]
}

/** What fades in is looked at when it is there; what moves for ever is not waited for. */
const still = `Promise.all(document.getAnimations()
  .filter((animation) => Number.isFinite(animation.effect.getComputedTiming().endTime))
  .map((animation) => animation.finished.catch(() => undefined)))
  .then(() => undefined)`

/** axe-core finds nothing serious. Evaluated by the debugger, so that the page's own policy stays in force. */
async function accessible(page: Page): Promise<void> {
  await page.evaluate(still)
  await page.evaluate(axe)
  const { violations } = (await page.evaluate('axe.run()')) as { violations: readonly Violation[] }
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
  assert.deepEqual(
    serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`),
    [],
  )
}
