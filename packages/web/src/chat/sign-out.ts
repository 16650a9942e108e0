import { ApiError, api } from '../shared/api.ts'
import type { Chat } from './chat.ts'

/** Signs out and erases what the browser keeps. Throws, with everything kept, when the server could not be reached. */
export async function signOut(chat: Chat): Promise<void> {
  try {
    await api.logOut()
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'unauthorized') throw error
  }
  await chat.signOut()
  location.replace('/')
  location.reload()
}
