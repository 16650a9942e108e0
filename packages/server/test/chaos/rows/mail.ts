/** The same crash with mailboxes: killed on one side of a mail's commit, between real servers. */
import { until } from '../../journeys/posthouse.ts'
import { ANN, BOT, inScene } from '../../mail/scene.ts'
import type { Outcome } from '../crowd.ts'
import { withMutant } from '../mutants.ts'
import { preloading } from '../preload/edit.ts'
import type { Play } from '../row.ts'

/** Parts of F02: before a mail is committed, and between its commit and its mark. */
export const mailParts = { 'mail handed over': 'before', 'mail committed': 'after' } as const

export async function mailCrash({ part, mutant, patience = 30_000 }: Play): Promise<Outcome> {
  let answers: readonly number[] = []
  let admitted = 0
  await inScene(async ({ mail, posthouse, write, got }) => {
    const answersTo = async (subject: string) => (await got(ANN)).filter(({ text }) => text?.includes(`You said: ${subject}`)).length
    await write(ANN, { subject: 'First', text: 'once' })
    await until(() => mail.unseen(BOT) === 1, 'the mail lies in the mailbox')
    const when = mailParts[part as keyof typeof mailParts]
    await posthouse.start(withMutant(mutant, preloading({ CRASH_IN_MAIL: when }, 'crash-in-mail')))
    await posthouse.exited()
    await posthouse.start(withMutant(mutant))
    await until(() => mail.unseen(BOT) === 0, 'the mail is marked', patience).catch(() => {})
    // What would come twice, or after all, comes before the answer to a later mail.
    await write(ANN, { subject: 'Second', text: 'and then' })
    await until(async () => (await answersTo('Second')) > 0, 'the later answer', patience).catch(() => {})
    answers = [await answersTo('First'), await answersTo('Second')]
    admitted = 2 - mail.unseen(BOT)
  })
  const named = (wanted: (count: number) => boolean) => ['First', 'Second'].filter((_, index) => wanted(answers[index] ?? 0))
  return {
    asked: 2,
    admitted,
    answered: named((count) => count > 0).length,
    told: 0,
    dead: 0,
    lost: named((count) => count === 0),
    doubled: named((count) => count > 1),
    marked: 0,
    outOfOrder: [],
    rerun: [],
    strays: [],
    recoveries: [],
    broken: [],
    slow: [],
    figures: '',
  }
}
