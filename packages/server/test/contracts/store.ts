/** What every store must do, as data: run for each database. */
import { conversationBehaviours } from './store-conversations.ts'
import { keepingBehaviours } from './store-keeping.ts'
import type { Behaviour } from './store-scene.ts'
import { sharedBehaviours } from './store-shared.ts'
import { wayBehaviours } from './store-way.ts'

export const storeBehaviours: readonly Behaviour[] = [
  ...wayBehaviours,
  ...conversationBehaviours,
  ...keepingBehaviours,
  ...sharedBehaviours,
]
