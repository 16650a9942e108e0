/** Words in both languages. Both are loaded: they are small, and the switch works without a connection. */
import i18next from 'i18next'
import { initReactI18next } from 'react-i18next'
import { en } from './locales/en.ts'
import { zh } from './locales/zh-cn.ts'
import { onPreferences, preferences } from './preferences.ts'

declare module 'i18next' {
  interface CustomTypeOptions {
    resources: { translation: typeof en }
  }
}

export async function startLanguages(): Promise<void> {
  await i18next.use(initReactI18next).init({
    lng: preferences().language,
    fallbackLng: 'en',
    resources: { en: { translation: en }, 'zh-CN': { translation: zh } },
    interpolation: { escapeValue: false },
  })
  onPreferences(() => {
    const { language } = preferences()
    if (i18next.language !== language) void i18next.changeLanguage(language)
  })
}
