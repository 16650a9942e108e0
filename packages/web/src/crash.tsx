import { Component, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { EntryFrame } from './entry/entry-frame.tsx'
import { Button } from './shared/ui/button.tsx'

/** Instead of a white page: what happened and a way out. React asks for a class here. */
export class Crash extends Component<{ children: ReactNode }, { crashed: boolean }> {
  override state = { crashed: false }
  static getDerivedStateFromError() {
    return { crashed: true }
  }
  override render() {
    return this.state.crashed ? <CrashScreen /> : this.props.children
  }
}

function CrashScreen() {
  const { t } = useTranslation()
  return (
    <EntryFrame title={t('crash.title')} lead={t('crash.lead')}>
      <Button look="primary" className="w-full" onClick={() => location.reload()}>
        {t('update.reload')}
      </Button>
    </EntryFrame>
  )
}
