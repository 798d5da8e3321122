import { chmod, chown, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { BridgeError } from '../errors/bridgeError'
import { namesIn, readText, writeAtomic } from '../files'
import { ifFree, type Waiting, withLock } from '../osLock'

// Several homes may change one Python: what says whose turn it is, and what is half-way, lies beside its packages.

/** The lock of one folder of packages. The file stays (ADR 20). */
const lockOf = (site: string): string => join(site, '.envmanager.lock')

/** Where there is no folder of packages, nothing can be changed, and no folder is made for a lock. */
export const isThere = (site: string): Promise<boolean> => stat(site).then((found) => found.isDirectory(), () => false)

const NAME = /^\.envmanager-[\w-]+\.open$/
const UNFINISHED = /^\.envmanager-[\w-]+\.open\.\d+-[0-9a-f]{12}\.tmp$/

/** Removes notes whose writer was killed, for who has the turn: nobody else writes one. */
async function sweep(site: string): Promise<void> {
  for (const name of (await namesIn(site)).filter((one) => UNFINISHED.test(one))) await rm(join(site, name), { force: true }).catch(() => undefined)
}

/** The lock is whose the packages are, and who may write these may lock it: also where root, or another user, was the first. For who holds it. */
async function shareLock(site: string): Promise<void> {
  const { uid, gid, mode } = await stat(site)
  await chown(lockOf(site), uid, gid).catch(() => undefined) // only root may give it away
  await chmod(lockOf(site), 0o600 | (mode & 0o022) | ((mode & 0o022) << 1)).catch(() => undefined)
}

const swept = <T>(site: string, work: () => Promise<T>) => async (): Promise<T> => {
  await shareLock(site)
  await sweep(site)
  return work()
}

/** Runs `work` while no command or bridge of whatever home changes these packages. Throws CANCELLED, DISK_FULL or FILE_UNWRITABLE. */
export async function inSiteTurn<T>(site: string, waiting: Waiting, work: () => Promise<T>): Promise<T> {
  return (await isThere(site)) ? withLock(lockOf(site), waiting, swept(site, work)) : work()
}

/** The same if nobody changes them now; null: somebody does, and nothing was done. */
export async function ifSiteFree<T>(site: string, work: () => Promise<T>): Promise<T | null> {
  return (await isThere(site)) ? ifFree(lockOf(site), swept(site, work)) : work()
}

const OpenNote = z.looseObject({ schema: z.literal(1), home: z.string(), id: z.string() })

/** That a change is half-way, and in which home its record is. */
export interface OpenNote {
  file: string
  home: string
  id: string
}

const noteOf = (site: string, id: string): string => join(site, `.envmanager-${id}.open`)

/** Notes beside the packages that a change of them begins. One that is there is not written again: the disk may be full. Throws DISK_FULL, FILE_UNWRITABLE or FILE_UNREADABLE. */
export async function noteOpen(site: string, home: string, id: string): Promise<void> {
  const text = `${JSON.stringify({ schema: 1, home, id })}\n`
  if ((await isThere(site)) && (await readText(noteOf(site, id))) !== text) await writeAtomic(noteOf(site, id), text)
}

/** Whether a change is noted in a folder of packages: then it is the folder that was changed, or a copy of it. */
export const isNoted = (site: string, id: string): Promise<boolean> => readText(noteOf(site, id)).then((text) => text !== null)

/** Every note in a folder of packages, for who has the turn. Throws FILE_UNREADABLE: whether something is half-way is not known then. */
export async function openNotes(site: string): Promise<OpenNote[]> {
  if (!(await isThere(site))) return []
  const read = async (name: string): Promise<OpenNote[]> => {
    const file = join(site, name)
    const text = await readText(file)
    if (text === null) return []
    try {
      const { home, id } = OpenNote.parse(JSON.parse(text))
      return [{ file, home, id }]
    } catch (cause) {
      throw new BridgeError('FILE_UNREADABLE', `${file} has the name of a note of ours, that an install is half-way, and is none.`, { hint: 'Delete it if no other install into this Python was broken off.', cause, details: { file } })
    }
  }
  return (await Promise.all((await namesIn(site)).filter((name) => NAME.test(name)).map(read))).flat()
}

/** Takes a home's note of a change away, and no other home's. One that stays is looked up in the record, which says that nothing is half-way. */
export async function noteClosed(site: string, home: string, id: string): Promise<void> {
  const own = (await openNotes(site).catch(() => [])).filter((note) => note.id === id && note.home === home)
  for (const { file } of own) await rm(file, { force: true }).catch(() => undefined)
}
