import { BridgeError, toWire } from '../errors/bridgeError'
import { ifFree, type Waiting, withLock } from '../osLock'
import { endLeftOver } from './leftOver'
import { besides, restoreSnapshot } from './restore'
import { isSameSite } from './siteIdentity'
import { ifSiteFree, inSiteTurn, noteClosed, openNotes } from './siteTurn'
import { hostLock, isOneSite, leftOverFolders, listSnapshots, onTopOf, readSnapshot, saveSnapshot, type Snapshot, sweepSnapshots } from './snapshot'

const brokenOff = ({ pack }: Snapshot): string => `An install for ${pack} into ComfyUI’s own environment was broken off`

/** Undoes one change that was broken off. Returns what to tell of it. Throws HOST_CHANGED or what else keeps it from that. */
async function undo(home: string, snapshot: Snapshot): Promise<string> {
  if (!(await isSameSite(snapshot.site, snapshot.identity))) {
    await endLeftOver(snapshot.id)
    await saveSnapshot(home, { ...snapshot, state: 'restored' })
    return `${brokenOff(snapshot)}. That environment is gone or was made anew since: nothing was changed.`
  }
  const later = onTopOf((await listSnapshots(home)).snapshots, snapshot)
  if (later) throw new BridgeError('HOST_CHANGED', `${later.id} was installed after it.`, { hint: `First: comfy-env restore ${later.id}` })
  return `${brokenOff(snapshot)} and has been undone.${besides(await restoreSnapshot(home, snapshot))}`
}

function cannotBeUndone(snapshot: Snapshot, cause: unknown): BridgeError {
  const { code, message, hint, details } = toWire(cause)
  return new BridgeError(code, `${brokenOff(snapshot)} and cannot be undone: ${message}`, { hint, cause, ...(details && { details }) })
}

const openOnes = async (home: string): Promise<Snapshot[]> => (await listSnapshots(home)).snapshots.filter(({ state }) => state === 'open')

/** Undoes changes that were killed half-way, unless another process is at it. Returns what to tell of each. Never throws: what cannot be undone keeps nothing from starting. */
export async function recoverInPlace(home: string): Promise<string[]> {
  const all = async (): Promise<string[]> => {
    const told: string[] = []
    const say = (text: string | null): void => void (text !== null && told.push(text))
    for (const snapshot of await openOnes(home)) {
      const failed = ({ message, hint }: BridgeError): string => `${message} ${hint}`
      say(await ifSiteFree(snapshot.site, () => undo(home, snapshot)).catch((cause: unknown) => failed(cannotBeUndone(snapshot, cause))))
    }
    await sweepSnapshots(home)
    return told
  }
  try {
    if ((await openOnes(home)).length + (await leftOverFolders(home)).length === 0) return []
    return (await ifFree(hostLock(home), all)) ?? []
  } catch (error) {
    return [`Whether an install into ComfyUI’s own environment was broken off is not known: ${toWire(error).message}`]
  }
}

/** What other homes have left half-way in a folder of packages. Throws HOST_CHANGED where its record cannot be reached: it cannot be undone then. */
async function openElsewhere(home: string, site: string): Promise<{ home: string; snapshot: Snapshot }[]> {
  const found: { home: string; snapshot: Snapshot }[] = []
  for (const note of (await openNotes(site)).filter((one) => !isOneSite(one.home, home))) {
    const snapshot = await readSnapshot(note.home, note.id).catch((cause: unknown) => Promise.reject(unreachable(note.home, note.file, cause)))
    if (snapshot === null) throw unreachable(note.home, note.file)
    if (snapshot.state !== 'open') await noteClosed(site, note.id)
    else if (isOneSite(snapshot.site, site)) found.push({ home: note.home, snapshot }) // a copied environment has a copied note
  }
  return found
}

function unreachable(home: string, note: string, cause?: unknown): BridgeError {
  const why = cause === undefined ? 'its record is gone' : toWire(cause).message
  return new BridgeError('HOST_CHANGED', `An install into ComfyUI’s own environment, kept in ${home}, was broken off and cannot be undone: ${why}`, {
    hint: `Repair the packages that it changed and delete ${note}.`,
    ...(cause !== undefined && { cause }),
  })
}

/** A change of ComfyUI's own environment, whose turn is waited for. */
interface Turn extends Waiting {
  home: string
  /** Whose it is. */
  site: string
  /** Hears what has been undone first. */
  tell: (text: string) => void
  /** Only what stands on top of that change; absent: all. */
  above?: Snapshot
}

/**
 * Runs `work` while nothing else, of whatever home, changes ComfyUI's own environment, and once what a killed process has left half-way there is undone: who
 * waited for that process would build on it. Throws CANCELLED, and what keeps something from being undone; nothing was changed then.
 */
export async function inHostTurn<T>({ home, site, tell, above, ...waiting }: Turn, work: () => Promise<T>): Promise<T> {
  const isInTheWay = (one: Snapshot): boolean => isOneSite(one.site, site) && (above === undefined || one.created > above.created)
  const undoFirst = async (): Promise<T> => {
    const elsewhere = await openElsewhere(home, site)
    const own = (await openOnes(home)).map((snapshot) => ({ home, snapshot }))
    const all = [...elsewhere, ...own].filter(({ snapshot }) => isInTheWay(snapshot)).sort((a, b) => b.snapshot.created - a.snapshot.created)
    for (const one of all) tell(await undo(one.home, one.snapshot).catch((cause: unknown) => Promise.reject(cannotBeUndone(one.snapshot, cause))))
    return work()
  }
  return withLock(hostLock(home), waiting, () => inSiteTurn(site, waiting, undoFirst))
}
