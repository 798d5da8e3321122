import { BridgeError, toWire } from '../errors/bridgeError'
import { ifFree, type Waiting, withLock } from '../osLock'
import { type HalfWay, halfWayAt, isItsOwn } from './halfWay'
import { endLeftOver } from './leftOver'
import { besides, restoreSnapshot } from './restore'
import { isSameSite } from './siteIdentity'
import { ifSiteFree, inSiteTurn, isThere, noteClosed, openNotes } from './siteTurn'
import { changeLock, folderOf, hostLock, isOneSite, leftOverFolders, listSnapshots, onTopOf, saveSnapshot, type Snapshot, sweepSnapshots } from './snapshot'

const brokenOff = ({ pack }: Snapshot): string => `An install for ${pack} into ComfyUI’s own environment was broken off`

/** Settles a record whose change is not half-way in the environment that lies there now. */
async function settle(home: string, snapshot: Snapshot): Promise<string> {
  await endLeftOver(snapshot.id)
  const isSame = await isSameSite(snapshot.site, snapshot.identity)
  await saveSnapshot(home, { ...snapshot, state: isSame ? 'done' : 'restored' })
  const why = isSame ? 'so says its record, which is older than the environment and may come from a backup' : 'that environment was made anew since'
  return `${brokenOff(snapshot)}: ${why}. Nothing was changed.`
}

/** Undoes one change that was broken off, for who has the turn at its packages. Returns what to tell of it. Throws HOST_CHANGED or what else keeps it from that. */
async function undo({ home, snapshot }: HalfWay): Promise<string> {
  if (!(await isThere(snapshot.site))) throw new BridgeError('HOST_CHANGED', `${snapshot.site} is not there now.`, { hint: `It is undone when it is there again. If it is gone for good, delete ${folderOf(home, snapshot.id)}.` })
  if (!(await isItsOwn(home, snapshot))) return settle(home, snapshot)
  const later = onTopOf((await listSnapshots(home)).snapshots, snapshot)
  if (later) throw new BridgeError('HOST_CHANGED', `${later.id} was installed after it.`, { hint: `First: comfy-env restore ${later.id}` })
  return `${brokenOff(snapshot)} and has been undone.${besides(await restoreSnapshot(home, snapshot))}`
}

function cannotBeUndone(snapshot: Snapshot, cause: unknown): BridgeError {
  const { code, message, hint, details } = toWire(cause)
  return new BridgeError(code, `${brokenOff(snapshot)} and cannot be undone: ${message}`, { hint, cause, ...(details && { details }) })
}

const openOnes = async (home: string): Promise<Snapshot[]> => (await listSnapshots(home)).snapshots.filter(({ state }) => state === 'open')

/** Notes of a home that a kill has left beside packages: their records say that nothing is half-way. */
async function leftOverNotes(home: string): Promise<Snapshot[]> {
  const { snapshots } = await listSnapshots(home)
  const notes = await Promise.all([...new Set(snapshots.map(({ site }) => site))].map((site) => openNotes(site).catch(() => [])))
  const ids = new Set(notes.flat().flatMap((note) => (note.home === home ? [note.id] : [])))
  return snapshots.filter(({ id, state }) => state !== 'open' && ids.has(id))
}

/** Undoes changes that were killed half-way, unless another process is at it. Returns what to tell of each. Never throws: what cannot be undone keeps nothing from starting. */
export async function recoverInPlace(home: string): Promise<string[]> {
  const all = async (): Promise<string[]> => {
    const told: string[] = []
    const say = (text: string | null): void => void (text !== null && told.push(text))
    for (const snapshot of await openOnes(home)) {
      const failed = ({ message, hint }: BridgeError): string => `${message} ${hint}`
      const work = (): Promise<string | null> => ifFree(changeLock(home), () => undo({ home, snapshot }))
      say(await ifSiteFree(snapshot.site, work).catch((cause: unknown) => failed(cannotBeUndone(snapshot, cause))))
    }
    for (const { site, id } of await leftOverNotes(home)) await noteClosed(site, home, id)
    await sweepSnapshots(home)
    return told
  }
  try {
    const { faults } = await listSnapshots(home)
    const unread = faults.map((fault) => `A change of ComfyUI’s own environment cannot be put back, and whether it was broken off is not known: ${fault}`)
    const left = [await openOnes(home), await leftOverFolders(home), await leftOverNotes(home)]
    if (left.every((some) => some.length === 0)) return unread
    return [...unread, ...((await ifFree(hostLock(home), all)) ?? [])]
  } catch (error) {
    return [`Whether an install into ComfyUI’s own environment was broken off is not known: ${toWire(error).message}`]
  }
}

/** The same for what any home has left half-way; of another one only while no process of it changes packages, whatever became of the turn's lock. */
async function undoFirst(home: string, one: HalfWay): Promise<string> {
  const work = (): Promise<string> => undo(one).catch((cause: unknown) => Promise.reject(cannotBeUndone(one.snapshot, cause)))
  if (isOneSite(one.home, home)) return work()
  const told = await ifFree(changeLock(one.home), work)
  if (told === null) throw new BridgeError('ENV_BUSY', `An install for ${one.snapshot.pack}, kept in ${one.home}, is changing ComfyUI’s own environment.`, { hint: 'Try again when it has ended.' })
  return told
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
  const isInTheWay = ({ snapshot }: HalfWay): boolean => above === undefined || snapshot.created > above.created
  const mine = async (): Promise<T> => {
    const noted = await halfWayAt(site, home)
    const others = (await openOnes(home)).filter((one) => isOneSite(one.site, site) && !noted.some(({ snapshot }) => snapshot.id === one.id))
    const all = [...noted, ...others.map((snapshot) => ({ home, snapshot }))].filter(isInTheWay).sort((a, b) => b.snapshot.created - a.snapshot.created)
    for (const one of all) tell(await undoFirst(home, one))
    return work()
  }
  return withLock(hostLock(home), waiting, () => inSiteTurn(site, waiting, () => withLock(changeLock(home), waiting, mine)))
}
