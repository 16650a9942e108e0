import { expect, it } from 'vitest'
import { en } from './en.ts'
import { zh } from './zh-cn.ts'

/** Path -> text. Forms of number (`_one`, `_other`) count as one key: languages have different ones. */
function texts(tree: object, path = ''): Map<string, string[]> {
  const found = new Map<string, string[]>()
  for (const [key, value] of Object.entries(tree)) {
    const at = path + key.replace(/_(zero|one|two|few|many|other)$/, '')
    if (typeof value === 'string') found.set(at, [...(found.get(at) ?? []), value])
    else for (const [deeper, list] of texts(value, `${at}.`)) found.set(deeper, list)
  }
  return found
}

const english = texts(en)
const chinese = texts(zh)
const variables = (list: readonly string[] | undefined) => [...new Set((list ?? []).join(' ').match(/{{\w+}}/g) ?? [])].sort()

it('has every text in both languages', () => {
  expect([...chinese.keys()].sort()).toEqual([...english.keys()].sort())
})

it('has the same variables in both languages', () => {
  for (const [key, list] of english) expect([key, variables(chinese.get(key))]).toEqual([key, variables(list)])
})

it('leaves no text empty or untranslated', () => {
  for (const [key, list] of chinese) {
    for (const text of list) {
      expect(text.trim(), key).not.toBe('')
      if (key !== 'otherLanguage') expect(text, key).toMatch(/[\u4e00-\u9fff]/)
    }
  }
  for (const [key, list] of english) if (key !== 'otherLanguage') expect(list.join(''), key).not.toMatch(/[\u4e00-\u9fff]/)
})

it('has the forms of number that each language needs', () => {
  const forms = (tree: object, language: string): void => {
    for (const [key, value] of Object.entries(tree)) {
      if (typeof value !== 'string') forms(value, language)
      else if (key.endsWith('_other')) {
        for (const category of new Intl.PluralRules(language).resolvedOptions().pluralCategories) {
          expect(Object.keys(tree)).toContain(key.replace(/other$/, category))
        }
      }
    }
  }
  forms(en, 'en')
  forms(zh, 'zh-CN')
})
