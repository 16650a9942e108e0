import type { FileView } from '@posthouse/contract/http'
import { FileAudio, File as FileIcon, FileText, FileVideo, RotateCw, X } from 'lucide-react'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { fileUrl } from '../shared/api.ts'
import { formatSize } from '../shared/format.ts'
import { IconButton } from '../shared/ui/button.tsx'
import type { Attachment } from './attachments.ts'

function KindIcon({ mime }: { mime: string }) {
  if (mime.startsWith('audio/')) return <FileAudio aria-hidden />
  if (mime.startsWith('video/')) return <FileVideo aria-hidden />
  if (mime.startsWith('text/') || mime === 'application/pdf') return <FileText aria-hidden />
  return <FileIcon aria-hidden />
}

/** Files being attached, above the composer's text. */
export function AttachmentList({
  attachments,
  onRemove,
  onRetry,
}: {
  attachments: readonly Attachment[]
  onRemove: (id: string) => void
  onRetry: (id: string) => void
}) {
  const { t } = useTranslation()
  if (attachments.length === 0) return null
  return (
    <ul aria-label={t('files.attached')} className="flex flex-wrap gap-2 px-3 pt-3">
      {attachments.map((one) => {
        const { state } = one
        const failed = state.kind === 'failed'
        return (
          <li
            key={one.id}
            className={`relative flex max-w-full items-center gap-2 overflow-hidden rounded-xl border py-1 ps-2 pe-1 text-sm ${failed ? 'border-danger/50 bg-danger-tint' : 'border-line bg-paper'}`}
          >
            {state.kind === 'done' && one.image ? (
              <img src={fileUrl(state.file.id)} alt="" className="size-9 rounded-lg object-cover" />
            ) : (
              <span className="flex size-9 items-center justify-center text-soft [&_svg]:size-5">
                <KindIcon mime={state.kind === 'done' ? state.file.mime : ''} />
              </span>
            )}
            <span className="flex min-w-0 flex-col leading-tight">
              <span className="max-w-44 truncate">{one.name}</span>
              <span className={`text-xs ${failed ? 'text-danger' : 'text-soft'}`} role={failed ? 'alert' : undefined}>
                {failed
                  ? state.code === 'too-large'
                    ? t('files.tooLarge')
                    : t(`error.${state.code}`)
                  : state.kind === 'uploading'
                    ? t('files.uploading', { percent: Math.round(state.share * 100) })
                    : formatSize(one.size)}
              </span>
            </span>
            {failed && state.code !== 'too-large' ? (
              <IconButton label={t('files.retry', { name: one.name })} onClick={() => onRetry(one.id)}>
                <RotateCw />
              </IconButton>
            ) : null}
            <IconButton
              label={state.kind === 'uploading' ? t('files.cancel', { name: one.name }) : t('files.remove', { name: one.name })}
              onClick={() => onRemove(one.id)}
            >
              <X />
            </IconButton>
            {state.kind === 'uploading' ? (
              <span
                role="progressbar"
                aria-label={t('files.progress', { name: one.name })}
                aria-valuenow={Math.round(state.share * 100)}
                aria-valuemin={0}
                aria-valuemax={100}
                className="absolute inset-x-0 bottom-0 h-0.5 origin-left bg-accent transition-transform"
                style={{ transform: `scaleX(${state.share})` }}
              />
            ) : null}
          </li>
        )
      })}
    </ul>
  )
}

/** Files of a message in the thread. */
export function MessageFiles({ files }: { files: readonly FileView[] }) {
  const { t } = useTranslation()
  if (files.length === 0) return null
  return (
    <ul aria-label={t('files.attached')} className="mb-2 flex flex-wrap justify-end gap-2">
      {files.map((file) => (
        <li key={file.id}>{file.kind === 'image' ? <ImageFile file={file} /> : <OtherFile file={file} />}</li>
      ))}
    </ul>
  )
}

function ImageFile({ file }: { file: FileView }) {
  const [broken, setBroken] = useState(false)
  if (broken) return <OtherFile file={file} />
  return (
    <a href={fileUrl(file.id)} target="_blank" rel="noreferrer" className="block overflow-hidden rounded-2xl border border-line">
      <img
        src={fileUrl(file.id)}
        alt={file.name}
        loading="lazy"
        onError={() => setBroken(true)}
        className="max-h-64 max-w-full object-contain"
      />
    </a>
  )
}

function OtherFile({ file }: { file: FileView }) {
  return (
    <a
      href={fileUrl(file.id)}
      target="_blank"
      rel="noreferrer"
      className="flex items-center gap-2.5 rounded-xl border border-line bg-card px-3 py-2 text-sm transition-colors hover:bg-hover [&_svg]:size-5 [&_svg]:text-soft"
    >
      <KindIcon mime={file.mime} />
      <span className="flex min-w-0 flex-col leading-tight">
        <span className="max-w-56 truncate">{file.name}</span>
        <span className="text-soft text-xs">{formatSize(file.size)}</span>
      </span>
    </a>
  )
}
