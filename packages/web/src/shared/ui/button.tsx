/** Buttons. An icon button always has a name, shown as a tooltip too. */
import { Tooltip } from 'radix-ui'
import type { ComponentProps, ReactNode } from 'react'

const looks = {
  primary: 'bg-accent text-on-accent hover:bg-accent-strong disabled:bg-hover disabled:text-soft',
  quiet: 'text-ink hover:bg-hover disabled:text-soft',
  outline: 'border border-line bg-card text-ink hover:bg-hover disabled:text-soft',
  danger: 'bg-danger text-card hover:opacity-90',
} as const

export function Button({ look = 'outline', className = '', ...rest }: ComponentProps<'button'> & { look?: keyof typeof looks }) {
  return (
    <button
      type="button"
      className={`inline-flex min-h-10 items-center justify-center gap-2 rounded-xl px-4 font-medium text-sm transition-colors touch:min-h-11 [&_svg]:size-4 [&_svg]:shrink-0 ${looks[look]} ${className}`}
      {...rest}
    />
  )
}

interface IconButtonProps extends Omit<ComponentProps<'button'>, 'aria-label'> {
  readonly label: string
  readonly shortcut?: string
  readonly pressed?: boolean
  readonly look?: 'quiet' | 'primary'
  readonly children: ReactNode
}

export function IconButton({ label, shortcut, pressed, look = 'quiet', className = '', children, ...rest }: IconButtonProps) {
  const colours =
    look === 'primary' ? looks.primary : `text-soft hover:bg-hover hover:text-ink aria-pressed:text-accent disabled:opacity-50`
  return (
    <Tooltip.Root>
      <Tooltip.Trigger asChild>
        <button
          type="button"
          aria-label={label}
          aria-pressed={pressed}
          className={`inline-flex size-9 shrink-0 items-center justify-center rounded-xl transition-colors touch:size-11 [&_svg]:size-[1.1rem] ${colours} ${className}`}
          {...rest}
        >
          {children}
        </button>
      </Tooltip.Trigger>
      <Tooltip.Portal>
        <Tooltip.Content
          sideOffset={6}
          collisionPadding={8}
          className="z-50 flex animate-appear items-center gap-2 rounded-lg bg-ink px-2.5 py-1.5 text-paper text-xs shadow-card"
        >
          {label}
          {shortcut ? <kbd className="font-sans opacity-70">{shortcut}</kbd> : null}
        </Tooltip.Content>
      </Tooltip.Portal>
    </Tooltip.Root>
  )
}
