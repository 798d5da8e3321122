import { homedir, userInfo } from 'node:os'
import { resolve, sep } from 'node:path'

// A container's user may have no line in the system's list of users: then Node throws where it asks for it.

/** The user's own folder; null: the user has none. */
export function userFolder(): string | null {
  try {
    return homedir() || null
  } catch {
    return null
  }
}

/** The user's name, or nothing where the system does not know it. */
export function userName(): string {
  try {
    return userInfo().username
  } catch {
    return process.env.USER ?? ''
  }
}

/** A path that a user wrote: `~` is the user's own folder, and what is relative lies in the current one. Python's side (`shim/places.py`) does the same. */
export function pathOf(text: string): string {
  const own = userFolder()
  const isOwn = text === '~' || text.startsWith('~/') || text.startsWith(`~${sep}`)
  return own !== null && isOwn ? resolve(own, `.${sep}${text.slice(1)}`) : resolve(text)
}
