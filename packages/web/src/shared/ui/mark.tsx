/** The sign of Posthouse: a letter under a roof with upturned eaves. */
export function Mark({ className = 'size-8' }: { className?: string }) {
  return (
    <svg viewBox="0 0 64 64" aria-hidden="true" className={className}>
      <rect width="64" height="64" rx="16" className="fill-accent" />
      <g className="stroke-on-accent" fill="none" strokeWidth="4" strokeLinecap="round" strokeLinejoin="round">
        <path d="M10 27.5C20 25.5 27 20.5 32 13c5 7.5 12 12.5 22 14.5" />
        <path d="M17 31v15a4 4 0 0 0 4 4h22a4 4 0 0 0 4-4V31" />
        <path d="M18.5 35 32 44l13.5-9" />
      </g>
    </svg>
  )
}
