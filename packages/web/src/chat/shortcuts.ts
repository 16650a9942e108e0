import { useEffect } from 'react'

/** As printed on this machine's keys. */
export const newChatKeys = /Mac|iPhone|iPad/.test(globalThis.navigator?.platform ?? '') ? '⌘ ⇧ O' : 'Ctrl ⇧ O'

interface Shortcuts {
  readonly onNew: () => void
  readonly onFocus: () => void
  /** Undefined when there is nothing to stop. */
  readonly onStop: (() => void) | undefined
}

/** Ctrl/⌘+Shift+O: new chat. `/`: to the composer. Escape: stop. None of them while an input method composes or a dialog is open. */
export function useShortcuts({ onNew, onFocus, onStop }: Shortcuts): void {
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.defaultPrevented || event.isComposing || event.keyCode === 229) return
      if (document.querySelector('[role=dialog], [role=menu]')) return
      const typing = event.target instanceof HTMLElement && event.target.closest('input, textarea, select, [contenteditable]') !== null
      if (event.key.toLowerCase() === 'o' && event.shiftKey && (event.ctrlKey || event.metaKey)) {
        event.preventDefault()
        onNew()
      } else if (event.key === '/' && !typing) {
        event.preventDefault()
        onFocus()
      } else if (event.key === 'Escape' && onStop) {
        event.preventDefault()
        onStop()
      }
    }
    window.addEventListener('keydown', onKeyDown)
    return () => window.removeEventListener('keydown', onKeyDown)
  }, [onNew, onFocus, onStop])
}
