import { BridgeError, toWire } from '../errors/bridgeError'
import { isSameSite } from './siteIdentity'
import { isNoted, isThere, noteClosed, type OpenNote, openNotes } from './siteTurn'
import { isOneSite, readSnapshot, type Snapshot } from './snapshot'

/** A change that is half-way, and the home in which its record is. */
export interface HalfWay {
  home: string
  snapshot: Snapshot
}

function unreachable({ home, file }: OpenNote, cause?: unknown): BridgeError {
  const why = cause === undefined ? 'its record is gone.' : toWire(cause).message
  return new BridgeError('HOST_CHANGED', `An install into ComfyUI’s own environment, kept in ${home}, was broken off and cannot be undone: ${why}`, {
    hint: `Repair the packages that it changed and delete ${file}.`,
    ...(cause !== undefined && { cause }),
  })
}

/** The record of a noted change: in the home that the note names, or in ours where that one was moved. Throws HOST_CHANGED where it is in neither. */
async function recordOf(note: OpenNote, home: string): Promise<HalfWay> {
  const [there, fault] = await readSnapshot(note.home, note.id).then((found) => [found, undefined] as const, (cause: unknown) => [null, cause] as const)
  if (there) return { home: note.home, snapshot: there }
  const own = fault === undefined ? await readSnapshot(home, note.id).catch(() => null) : null
  if (own) return { home, snapshot: own }
  throw unreachable(note, fault)
}

/**
 * Every change that the notes in a folder of packages say is half-way there, for who has the turn. A folder that was moved is meant by its new path. Throws
 * HOST_CHANGED where the folder is a copy, or a record cannot be reached: it cannot be undone then. FILE_UNREADABLE: it is not known.
 */
export async function halfWayAt(site: string, home: string): Promise<HalfWay[]> {
  const found: HalfWay[] = []
  for (const note of await openNotes(site)) {
    const { home: owner, snapshot } = await recordOf(note, home)
    const isHere = isOneSite(snapshot.site, site)
    if (!isHere && (await isThere(snapshot.site))) {
      throw new BridgeError('HOST_CHANGED', `${site} is a copy of ${snapshot.site}, made while an install for ${snapshot.pack} was half-way there.`, {
        hint: `Make the copy again, or repair the packages that the install changed and delete ${note.file}.`,
      })
    }
    if (snapshot.state === 'open') found.push({ home: owner, snapshot: { ...snapshot, site } })
    else await noteClosed(site, note.home, note.id)
  }
  return found
}

/** Whether a record that says that its change is half-way is that of the environment which lies there: a record may be an old copy, an environment may have been made anew. */
export async function isItsOwn(home: string, snapshot: Snapshot): Promise<boolean> {
  const { site, id, identity, noted } = snapshot
  if (noted === undefined) return isSameSite(site, identity)
  if (!(await isNoted(site, id))) return false
  const note = (await openNotes(site)).find((one) => one.id === id)
  return note !== undefined && isOneSite((await recordOf(note, home)).home, home)
}
