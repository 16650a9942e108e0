/** The built-in commands. A command that we do not know goes to the model as it was written. */
import type { TurnResult } from '../../ports/store.ts'
import { chosenModel, switchConversation } from './model-choice.ts'
import { noticeText } from './notices.ts'
import { notice, type TurnWork } from './work.ts'

/** Carries out the command that the turn consists of; undefined when it is none of ours. */
export async function runCommand(work: TurnWork): Promise<TurnResult | undefined> {
  const command = work.turn.messages.length === 1 ? work.turn.messages[0]?.body.command : undefined
  switch (command?.name) {
    case 'help':
    case 'start':
      return notice(work, 'help', 'command', noticeText('help', work.language))
    case 'new':
      return notice(work, 'forgotten', 'command', noticeText('forgotten', work.language), { forget: true })
    case 'stop':
      // The running answer was ended when the command came in; this is its turn in the lane.
      return notice(work, 'stopped', 'command', noticeText('stopped', work.language))
    case 'model':
      return await modelCommand(work, command.argument)
    default:
      return undefined
  }
}

async function modelCommand(work: TurnWork, name: string): Promise<TurnResult> {
  const { turn, account, parts, language } = work
  const all = parts.models.endpoints.map((endpoint) => `\`${endpoint.id}\``).join(', ')
  if (name === '') {
    return notice(work, 'model', 'command', noticeText('model', language, await chosenModel(parts, turn.conversation.id), all))
  }
  if (!parts.models.endpoints.some((endpoint) => endpoint.id === name)) {
    return notice(work, 'modelUnknown', 'command', noticeText('modelUnknown', language, name, all))
  }
  // The web chat's people are signed in; elsewhere only who is named in the configuration may spend on another model.
  const author = turn.messages[0]?.body.author?.id ?? ''
  if (turn.conversation.owner === undefined && !account?.allowedUsers?.has(author)) {
    return notice(work, 'modelForbidden', 'command', noticeText('modelForbidden', language))
  }
  await switchConversation(parts, turn.conversation.id, name)
  return notice(work, 'modelSwitched', 'command', noticeText('modelSwitched', language, name))
}
