/** What a tool answered, as text for a model. */
import type { CallToolResult } from '@modelcontextprotocol/client'

type Part = CallToolResult['content'][number]

/** Texts as they are; what is no text, in words. */
export function textOf({ content, structuredContent }: CallToolResult): string {
  if (content.length === 0 && structuredContent !== undefined) return JSON.stringify(structuredContent)
  return content.map(wordsFor).join('\n')
}

function wordsFor(part: Part): string {
  switch (part.type) {
    case 'text':
      return part.text
    case 'image':
      return `[an image (${part.mimeType}, ${sizeOf(part.data)}), which cannot be shown here]`
    case 'audio':
      return `[a recording (${part.mimeType}, ${sizeOf(part.data)}), which cannot be played here]`
    case 'resource_link':
      return `[a link to "${part.title ?? part.name}": ${part.uri}${part.description ? `, ${part.description}` : ''}]`
    case 'resource': {
      const { resource } = part
      if ('text' in resource) return `[${resource.uri}]\n${resource.text}`
      return `[a file (${resource.mimeType ?? 'of unknown kind'}, ${sizeOf(resource.blob)}) at ${resource.uri}, which cannot be shown here]`
    }
    default:
      return '[something that cannot be shown here]'
  }
}

/** Of what is written in base64. */
const sizeOf = (data: string): string => `${Math.max(1, Math.round((data.length * 3) / 4 / 1024))} KB`
