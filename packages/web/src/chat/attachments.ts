/** Files on their way to a message: uploaded at once, each with its own progress, failure and cancel. */
import type { FileView } from '@posthouse/contract/http'
import { useCallback, useEffect, useRef, useState } from 'react'
import { ApiError, FILE_LIMIT, uploadFile } from '../shared/api.ts'
import { newId } from '../shared/identity.ts'

export interface Attachment {
  readonly id: string
  readonly name: string
  readonly size: number
  readonly image: boolean
  readonly state:
    | { readonly kind: 'uploading'; readonly share: number }
    | { readonly kind: 'done'; readonly file: FileView }
    | { readonly kind: 'failed'; readonly code: ApiError['code'] }
}

/** So many files go with one message. */
export const FILES_PER_MESSAGE = 10

export function useAttachments(onTooMany: () => void) {
  const [attachments, setAttachments] = useState<readonly Attachment[]>([])
  const sources = useRef(new Map<string, { file: File; abort: AbortController }>())

  const patch = useCallback((id: string, state: Attachment['state']) => {
    setAttachments((all) => all.map((one) => (one.id === id ? { ...one, state } : one)))
  }, [])

  const upload = useCallback(
    (id: string, file: File) => {
      if (file.size > FILE_LIMIT) return patch(id, { kind: 'failed', code: 'too-large' })
      const abort = new AbortController()
      sources.current.set(id, { file, abort })
      patch(id, { kind: 'uploading', share: 0 })
      uploadFile(file, (share) => patch(id, { kind: 'uploading', share }), abort.signal).then(
        (view) => {
          sources.current.delete(id)
          patch(id, { kind: 'done', file: view })
        },
        (error: unknown) => {
          if (!abort.signal.aborted) patch(id, { kind: 'failed', code: error instanceof ApiError ? error.code : 'internal' })
        },
      )
    },
    [patch],
  )

  const add = useCallback(
    (files: readonly File[]) => {
      const room = FILES_PER_MESSAGE - attachments.length
      if (files.length > room) onTooMany()
      const added = files.slice(0, Math.max(0, room)).map((file) => ({ id: newId(), file }))
      setAttachments((all) => [
        ...all,
        ...added.map(
          ({ id, file }): Attachment => ({
            id,
            name: file.name,
            size: file.size,
            image: file.type.startsWith('image/'),
            state: { kind: 'uploading', share: 0 },
          }),
        ),
      ])
      for (const { id, file } of added) upload(id, file)
    },
    [attachments.length, onTooMany, upload],
  )

  const remove = useCallback((id: string) => {
    sources.current.get(id)?.abort.abort()
    sources.current.delete(id)
    setAttachments((all) => all.filter((one) => one.id !== id))
  }, [])

  const retry = useCallback(
    (id: string) => {
      const source = sources.current.get(id)
      if (source) upload(id, source.file)
    },
    [upload],
  )

  /** Puts already uploaded files in the place of what is here. */
  const reset = useCallback((files: readonly FileView[]) => {
    for (const { abort } of sources.current.values()) abort.abort()
    sources.current.clear()
    setAttachments(
      files.map((file) => ({ id: newId(), name: file.name, size: file.size, image: file.kind === 'image', state: { kind: 'done', file } })),
    )
  }, [])

  // What failed for want of a connection is tried again when there is one.
  useEffect(() => {
    const again = () => {
      for (const one of attachments) if (one.state.kind === 'failed' && one.state.code === 'offline') retry(one.id)
    }
    window.addEventListener('online', again)
    return () => window.removeEventListener('online', again)
  }, [attachments, retry])

  useEffect(() => {
    const running = sources.current
    return () => {
      for (const { abort } of running.values()) abort.abort()
    }
  }, [])

  return { attachments, add, remove, retry, reset }
}

/** The files that are ready. */
export function readyFiles(attachments: readonly Attachment[]): readonly FileView[] {
  return attachments.flatMap((one) => (one.state.kind === 'done' ? [one.state.file] : []))
}
