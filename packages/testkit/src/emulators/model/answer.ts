/** Which answer a question gets. */
import type { Answer, Question, Reply } from './script.ts'

/** The default: says the question back, so that whoever reads both can match them. */
export const echo = (question: Question): string => `You said: ${question.text}`

/** An instruction to go on with an answer that was cut, in whatever words. */
const goesOn = /\bcontinue\b.{0,200}\b(where|stopped|left off)\b/is

/** The answer to `question`. Asked to go on with a cut answer, the emulator sends the rest of what it would have said. */
export function answerTo(question: Question, answer: Answer): Reply {
  const plain = toReply(question, answer)
  const [asked, partial, instruction] = question.messages.slice(-3)
  if (!asked || partial?.role !== 'assistant' || instruction?.role !== 'user' || !goesOn.test(instruction.text)) return plain
  const before: Question = { ...question, text: asked.text, messages: question.messages.slice(0, -2) }
  const whole = toReply(before, answer)
  return whole.text?.startsWith(partial.text) ? { ...whole, text: whole.text.slice(partial.text.length) } : plain
}

function toReply(question: Question, answer: Answer): Reply {
  const given = typeof answer === 'function' ? answer(question) : answer
  return typeof given === 'string' ? { text: given } : given
}
