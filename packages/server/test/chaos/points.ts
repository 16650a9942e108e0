/**
 * Where a crash is planted: a name for each seam of a message's way, and the call at which it lies. The calls are those of the ports and of
 * the parts' doors, as `preload/seams.ts` wraps them; the product knows nothing of it.
 */
export interface Point {
  readonly name: string
  readonly seam: string
  readonly when: 'before' | 'after'
  /** Reached only after a first crash at that point. */
  readonly behind?: string
}

const point = (name: string, when: Point['when'], seam: string, behind?: string): Point => ({
  name,
  when,
  seam,
  ...(behind ? { behind } : {}),
})

export const points: readonly Point[] = [
  point('first migration', 'before', 'migrations.first'),
  point('later migration', 'before', 'migrations.toolCalls'),
  point('data opened', 'after', 'openStore'),
  point('received', 'before', 'receive'),
  point('committed', 'after', 'inbox.record'),
  point('offset kept', 'after', 'accountState.set.offset'),
  point('claimed', 'after', 'turns.claim'),
  point('file stored', 'after', 'blobs.put'),
  point('file known', 'after', 'files.add'),
  point('message rewritten', 'after', 'conversations.rewrite'),
  point('model asked', 'before', 'models.stream'),
  point('first token', 'before', 'models.text'),
  point('model done', 'after', 'models.stream'),
  point('preview sent', 'after', 'preview.send'),
  point('preview noted', 'after', 'turns.noteDraft'),
  point('preview edited', 'after', 'preview.edit'),
  point('tool intended', 'after', 'toolCalls.intend'),
  point('tool ran', 'after', 'tools.run'),
  point('tool settled', 'after', 'toolCalls.settle'),
  point('calls taken over', 'after', 'toolCalls.takeOver', 'tool ran'),
  point('answer whole', 'before', 'turns.finish'),
  point('outbox staged', 'after', 'turns.finish'),
  point('attempt journaled', 'after', 'outbox.begin'),
  point('before send', 'before', 'answer.send'),
  point('sent', 'after', 'answer.send'),
  point('preview became the answer', 'after', 'answer.edit'),
  point('piece noted', 'after', 'outbox.confirm.piece'),
  point('noted', 'after', 'outbox.confirm.last'),
  point('retry noted', 'after', 'outbox.retry'),
  point('dead letter noted', 'after', 'outbox.bury'),
  point('pruning', 'before', 'prune'),
  point('pruned', 'after', 'prune'),
]
