import { Check, ChevronDown, Eye, FlaskConical, Menu, SquarePen } from 'lucide-react'
import { DropdownMenu } from 'radix-ui'
import { useTranslation } from 'react-i18next'
import { IconButton } from '../shared/ui/button.tsx'
import { useWorld } from './chat-context.tsx'
import { useModels } from './models.ts'

export function Header({ title, onMenu, onNew }: { title: string | undefined; onMenu: () => void; onNew: () => void }) {
  const { t } = useTranslation()
  return (
    <header className="flex min-h-14 shrink-0 items-center gap-1 px-2 pt-[env(safe-area-inset-top)] md:px-4">
      <IconButton label={t('conversations')} onClick={onMenu} className="md:hidden">
        <Menu />
      </IconButton>
      <h1 className="min-w-0 flex-1 truncate px-2 font-medium text-[0.95rem] text-soft">
        {title || <span className="sr-only">Posthouse</span>}
      </h1>
      <ModelPicker />
      <IconButton label={t('conversation.new')} onClick={onNew} className="md:hidden">
        <SquarePen />
      </IconButton>
    </header>
  )
}

/** Which model answers; an administrator may choose another. */
function ModelPicker() {
  const { t } = useTranslation()
  const { me } = useWorld()
  const { models, choose, choosing } = useModels()
  if (!models) return null
  const current = models.models.find((model) => model.id === models.current)
  const name = (
    <>
      {current?.demo ? <FlaskConical aria-hidden className="size-4 shrink-0 text-warn" /> : null}
      <span className="truncate">{models.current}</span>
    </>
  )
  const shape = 'flex min-h-9 max-w-48 items-center gap-1.5 rounded-xl px-3 text-sm touch:min-h-11 sm:max-w-72'
  if (me.role !== 'admin') {
    return (
      <span className={`${shape} text-soft`} title={t('model.current')}>
        <span className="sr-only">{t('model.current')}: </span>
        {name}
      </span>
    )
  }
  return (
    <DropdownMenu.Root modal={false}>
      <DropdownMenu.Trigger asChild>
        <button
          type="button"
          disabled={choosing}
          aria-label={t('model.choose', { model: models.current })}
          className={`${shape} font-medium transition-colors hover:bg-hover data-[state=open]:bg-hover`}
        >
          {name}
          <ChevronDown aria-hidden className="size-4 shrink-0 text-soft" />
        </button>
      </DropdownMenu.Trigger>
      <DropdownMenu.Portal>
        <DropdownMenu.Content
          align="end"
          sideOffset={4}
          collisionPadding={8}
          className="z-40 max-h-[60vh] w-[min(20rem,calc(100vw-1rem))] animate-appear overflow-y-auto rounded-2xl border border-line bg-card p-1.5 shadow-float"
        >
          <DropdownMenu.Label className="px-3 pt-1.5 pb-2 text-soft text-xs">{t('model.forAll')}</DropdownMenu.Label>
          <DropdownMenu.RadioGroup value={models.current} onValueChange={(model) => choose(model)}>
            {models.models.map((model) => (
              <DropdownMenu.RadioItem
                key={model.id}
                value={model.id}
                className="flex min-h-12 items-center gap-2 rounded-xl px-3 py-1.5 text-sm outline-none data-highlighted:bg-hover"
              >
                <span className="me-auto min-w-0">
                  <span className="block truncate font-medium">{model.id}</span>
                  <span className="flex items-center gap-1.5 text-soft text-xs">
                    {model.provider}
                    {model.vision ? (
                      <span className="flex items-center gap-1">
                        · <Eye aria-hidden className="size-3.5" /> {t('model.vision')}
                      </span>
                    ) : null}
                    {model.demo ? <span>· {t('model.demo')}</span> : null}
                  </span>
                </span>
                <DropdownMenu.ItemIndicator>
                  <Check aria-hidden className="size-4 text-accent" />
                </DropdownMenu.ItemIndicator>
              </DropdownMenu.RadioItem>
            ))}
          </DropdownMenu.RadioGroup>
        </DropdownMenu.Content>
      </DropdownMenu.Portal>
    </DropdownMenu.Root>
  )
}
