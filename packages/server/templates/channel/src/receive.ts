/** In: what Pigeon tells us, decoded. Pure; nothing here is trusted or kept. */
import {
  type Fields,
  fieldsOf,
  type InboundMessage,
  PosthouseError,
  parseCommand,
  parseJson,
  type Reader,
  type Reading,
} from '@posthouse/contract'

/** How an account reads. `posthouse channel decode pigeon` shows what it makes of a call. */
export function createReader({ secret }: { readonly secret: string }): Reader {
  return {
    verification: [{ kind: 'token', at: { header: 'x-pigeon-secret' }, secret }],
    request: ({ body }): Reading => {
      const message = decode(fieldsOf(parseJson(body)))
      return message ? { messages: [message] } : { messages: [], reason: 'nothing for us to read' }
    },
  }
}

/** Undefined for what is not for us to read. What bots write is told apart here, and left out by the gateway. */
export function decode(given: Fields): InboundMessage | undefined {
  if (given.type !== 'message') return undefined
  const { id, room, from, text, time, bot, group, mentioned } = given
  for (const each of [id, room, from, text])
    if (typeof each !== 'string') throw new PosthouseError('invalid', 'id, room, from and text are strings')
  const isGroup = group === true
  const command = parseCommand(String(text))
  return {
    kind: 'message',
    // Unique for ever, and the same whenever it is repeated.
    key: `message:${room}:${id}`,
    id: String(id),
    place: { room: String(room), type: isGroup ? 'group' : 'direct' },
    author: { id: String(from), isBot: bot === true },
    parts: [{ type: 'text', text: String(text) }],
    sentAt: typeof time === 'number' ? time : Date.now(),
    addressed: !isGroup || mentioned === true || command !== undefined,
    ...(mentioned === true ? { mentionsUs: true } : {}),
    ...(command ? { command } : {}),
  }
}
