/** Stored things as clients see them. */
import { textOf } from '@posthouse/contract'
import type { ConversationView, FileView, MessageView } from '@posthouse/contract/http'
import type { Conversation, StoredMessage } from './store.ts'

export function viewMessage(message: StoredMessage): MessageView {
  const files = message.body.parts.flatMap((part): FileView[] =>
    part.type === 'file' && part.file.id
      ? [
          {
            id: part.file.id,
            kind: part.file.kind,
            name: part.file.name,
            mime: part.file.mime ?? 'application/octet-stream',
            size: part.file.size ?? 0,
          },
        ]
      : [],
  )
  return {
    id: message.id,
    seq: message.seq,
    conversation_id: message.conversationId,
    role: message.role,
    text: textOf(message.body.parts),
    status: message.status,
    created_at: message.createdAt,
    files,
    ...(message.replyTo ? { reply_to: message.replyTo } : {}),
    ...(message.clientId ? { client_id: message.clientId } : {}),
    ...(message.replacedBy ? { replaced_by: message.replacedBy } : {}),
    ...(message.model ? { model: message.model } : {}),
    ...(message.usage ? { usage: message.usage } : {}),
    ...(message.maybeDuplicate ? { maybe_duplicate: true } : {}),
  }
}

export function viewConversation(conversation: Conversation): ConversationView {
  return {
    id: conversation.id,
    title: conversation.place.title ?? '',
    created_at: conversation.createdAt,
    updated_at: conversation.updatedAt,
  }
}
