import type { Block } from '@posthouse/contract'

export function parseMarkdown(text: string): readonly Block[] {
  return [{ type: 'paragraph', children: [{ type: 'text', text }] }]
}
