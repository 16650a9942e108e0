// Runs before the first paint, so that a chosen theme or language never flashes in the other one.
try {
  const theme = localStorage.getItem('posthouse.theme')
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme
  const language = localStorage.getItem('posthouse.language')
  document.documentElement.lang = language || (/^zh/i.test(navigator.language) ? 'zh-CN' : 'en')
} catch {
  // Storage may be forbidden: the system's choice holds.
}
