/** What the platform knows: people, groups, files, cards, the addresses to answer at. */
import { randomBytes } from 'node:crypto'

export interface DingtalkPerson {
  readonly nick: string
  /** Outside of the organization: no staff id, and no message but by an answer's address. */
  readonly outside: boolean
}

export interface DingtalkGroup {
  readonly title: string
  /** The robot is in it no more. */
  closed: boolean
}

export interface DingtalkFile {
  readonly name: string
  readonly bytes: Uint8Array
  readonly type: string
}

/** A message of the robot's, as people see it now. */
export interface DingtalkPost {
  /** The staff id of a person (`senderId` of somebody outside), or `openConversationId` of a group. */
  readonly room: string
  /** `processQueryKey`, or `outTrackId` of a card; empty for what was sent to an answer's address. */
  readonly id: string
  readonly form: 'markdown' | 'image' | 'file' | 'card'
  /** Lists of chats and notices show it. */
  readonly title: string
  text: string
  /** The card shows that more is to come. */
  streaming: boolean
  readonly file?: DingtalkFile
  readonly at: number
  readonly edits: { readonly at: number; readonly text: string }[]
  deleted: boolean
}

export interface DingtalkCard {
  readonly room: string
  /** The name of the address at which its buttons are told; by the connections without it. */
  readonly route: string | undefined
  /** The variable that holds the text. */
  readonly key: string
  finished: boolean
  /** Updates that were carried out, by `guid`. */
  readonly done: Set<string>
  readonly post: DingtalkPost
}

export interface Store {
  readonly people: Map<string, DingtalkPerson>
  readonly groups: Map<string, DingtalkGroup>
  readonly posts: DingtalkPost[]
  /** Uploads of the app's by `media_id`. */
  readonly uploads: Map<string, DingtalkFile>
  /** Files of people's by `downloadCode`. */
  readonly files: Map<string, DingtalkFile>
  /** Signed addresses that were given out for a file. */
  readonly links: Map<string, DingtalkFile>
  readonly cards: Map<string, DingtalkCard>
  /** Registered addresses for the buttons of cards, by name. */
  readonly routes: Map<string, { readonly url: string; readonly secret: string }>
  /** Addresses to answer at: whose room it is, and until when. */
  readonly sessions: Map<string, { readonly room: string; readonly until: number }>
}

export const createStore = (): Store => ({
  people: new Map(),
  groups: new Map(),
  posts: [],
  uploads: new Map(),
  files: new Map(),
  links: new Map(),
  cards: new Map(),
  routes: new Map(),
  sessions: new Map(),
})

export const newId = (prefix = ''): string => prefix + randomBytes(16).toString('hex')

/** How the platform names a person besides the staff id; it tells nothing. */
export const senderOf = (staff: string): string => (staff.startsWith('$:') ? staff : `$:LWCP_v1:$${Buffer.from(staff).toString('base64')}`)
