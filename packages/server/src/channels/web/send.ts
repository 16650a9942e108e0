/** An answer for the web chat: the page renders Markdown itself, so a message is one piece as it was written. Pure. */
import type { OutboundMessage, Piece } from '@posthouse/contract'

export function render(message: OutboundMessage): readonly Piece[] {
  return [{ text: message.text, format: 'markdown', payload: { text: message.text } }]
}
