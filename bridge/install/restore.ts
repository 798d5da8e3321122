import { chmod, copyFile, mkdir, readdir, rename, rm, rmdir, symlink, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { BridgeError, toWire } from '../errors/bridgeError'
import { errnoOf, flush, unwritable } from '../files'
import { isBytecode, isOfItsSource, removeBytecode, sourceOf } from './bytecode'
import { withoutTheirs } from './claims'
import { contentAt, copyFlushed, flushFile, forEach, isSame, someOf } from './contents'
import { sha256Of } from './cache'
import { endLeftOver } from './leftOver'
import { copyObstacle, inTheWay, obstacles } from './obstacles'
import { isSameSite } from './siteIdentity'
import { isNoted } from './siteTurn'
import { changedSince, completed, unknownFiles } from './sinceThen'
import { copyOf, folderOf, foldersOf, type KeptFile, keptIn, pathIn, saveSnapshot, type Snapshot, type Whole } from './snapshot'

const isAsBefore = async (site: string, file: KeptFile): Promise<boolean> => isSame(await contentAt(pathIn(site, file.path)), file)

/** Throws VERIFY_FAILED unless the copy of every file that is not as it was is whole. */
async function refuseDamaged(home: string, { id, site }: Snapshot, kept: Iterable<KeptFile>): Promise<void> {
  const damaged: string[] = []
  await forEach(kept, async (file) => {
    const { path, sha256, link } = file
    const whole = link !== undefined || isBytecode(path) || (await isAsBefore(site, file)) || (await sha256Of(copyOf(home, id, path)).catch(() => null)) === sha256
    if (!whole) damaged.push(path)
  })
  if (damaged.length === 0) return
  const hint = 'Reinstall the packages that they belong to.'
  throw new BridgeError('VERIFY_FAILED', `${someOf(damaged.sort())} cannot be put back: its kept copy is damaged. Nothing was changed.`, { hint, details: { files: damaged } })
}

/** What a restore takes away though it may not be ours. */
interface Foreign {
  /** Files that are neither as before nor known to be ours. */
  taken: string[]
  /** What stands in the place of files that come back. */
  blocked: string[]
}

/** Throws HOST_CHANGED where somebody else has changed what would be put back, unless it `may` be; with a snapshot of an older version, what is there is not known to be somebody's. */
async function refuseChanged(snapshot: Whole, isOld: boolean, may: boolean): Promise<Foreign> {
  const blocked = await obstacles(snapshot)
  const { changed, packages, foreign } = isOld ? { changed: [], packages: [], foreign: await unknownFiles(snapshot) } : await changedSince(snapshot)
  const files = [...changed, ...blocked].sort()
  if (!may && files.length + packages.length > 0) {
    const what = [...packages.map((name) => `${name} was installed`), ...(files.length > 0 ? [`${someOf(files)} changed`] : [])].join('; ')
    const hint = `\`comfy-env restore ${snapshot.id} --force\` puts everything back all the same, and keeps a copy of these.`
    throw new BridgeError('HOST_CHANGED', `Since ${snapshot.id}, something else has changed ComfyUI’s environment: ${what}. Nothing was changed.`, { hint, details: { files, packages } })
  }
  return { taken: [...changed, ...foreign], blocked }
}

/** Copies what a restore will take away though it may not be ours. Returns the folder; null: there is nothing. */
async function keepReplaced(home: string, { id, site }: Snapshot, { taken, blocked }: Foreign): Promise<string | null> {
  if (taken.length + blocked.length === 0) return null
  const names = await readdir(folderOf(home, id))
  const folder = join(folderOf(home, id), `replaced-${names.filter((name) => name.startsWith('replaced-')).length + 1}`)
  const placeOf = (path: string): string => join(folder, ...path.split('/').map((part) => (part === '..' ? '__up' : part)))
  await mkdir(folder)
  await forEach(taken.filter((path) => !blocked.some((whole) => path.startsWith(`${whole}/`))), async (path) => {
    const content = await contentAt(pathIn(site, path))
    const copy = placeOf(path)
    if (content?.link !== undefined) await mkdir(dirname(copy), { recursive: true }).then(() => symlink(content.link ?? '', copy))
    else if (content !== null) await copyFlushed(pathIn(site, path), copy)
  })
  for (const path of blocked) await copyObstacle(pathIn(site, path), placeOf(path))
  return folder
}

/** Lies beside what is put back, so that each file comes to its place by a rename. */
const readyIn = ({ site, id }: Snapshot): string => join(site, `.envmanager-${id}`)

/** Makes the files that are to be put back ready. A full disk is met here, where nothing has changed yet. Returns what is ready and where it goes. */
async function makeReady(home: string, snapshot: Whole, kept: readonly KeptFile[]): Promise<[ready: string, target: string][]> {
  const folder = readyIn(snapshot)
  await rm(folder, { recursive: true, force: true })
  await mkdir(folder)
  const moves: [string, string][] = []
  await forEach(kept.entries(), async ([number, file]) => {
    const { path, link, mode, mtime } = file
    const [ready, target] = [join(folder, String(number)), pathIn(snapshot.site, path)]
    const now = await contentAt(target)
    if (isSame(now, file) && (mode === undefined || now?.mode === mode)) return
    if (link !== undefined) await symlink(link, ready)
    else {
      await copyFile(isSame(now, file) ? target : copyOf(home, snapshot.id, path), ready)
      if (mtime !== undefined) await utimes(ready, mtime / 1000, mtime / 1000)
      if (mode !== undefined) await chmod(ready, mode)
      await flushFile(ready)
    }
    moves.push([ready, target])
  })
  return moves
}

/** Renames; where the target is on another file system, copies beside it first. */
async function move(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true })
  await rename(from, to).catch(async (error: unknown) => {
    if (errnoOf(error) !== 'EXDEV') throw error
    const beside = `${to}.envmanager`
    await copyFlushed(from, beside)
    await rename(beside, to)
  })
}

/** Throws HOST_CHANGED where the environment is not the one that the snapshot is of: nothing in it is known to be ours. */
async function refuseOtherSite({ id, site, identity }: Snapshot): Promise<void> {
  if (await isSameSite(site, identity)) return
  throw new BridgeError('HOST_CHANGED', `${site} is another environment than ${id} is of, or is gone. Nothing was changed.`, { hint: 'There is nothing of that change left to undo.' })
}

/** Puts kept bytecode back where it is of exactly the source that lies there. */
async function putBytecodeBack(home: string, { id, site }: Whole, kept: readonly KeptFile[]): Promise<void> {
  for (const { path, sha256 } of kept) {
    const [copy, target] = [copyOf(home, id, path), pathIn(site, path)]
    const fits = (await sha256Of(copy).catch(() => null)) === sha256 && (await isOfItsSource(copy, sourceOf(target)))
    if (fits && (await contentAt(target)) === null && (await inTheWay(target)) === null) await copyFlushed(copy, target)
  }
}

/** Files that are not as before. */
async function differences(snapshot: Whole): Promise<string[]> {
  const before = keptIn(snapshot)
  const wrong: string[] = []
  await forEach(new Set([...before.keys(), ...snapshot.written.map(({ path }) => path)]), async (path) => {
    if (isBytecode(path)) return
    const [now, kept] = [await contentAt(pathIn(snapshot.site, path)), before.get(path) ?? null]
    const isWhole = isSame(now, kept) && (kept?.mode === undefined || kept.link !== undefined || process.platform === 'win32' || now?.mode === kept.mode)
    if (!isWhole) wrong.push(path)
  })
  return wrong.sort()
}

/** The snapshot when what others have changed is copied, so that it counts as ours: a restore that is killed is then gone on with. */
function withTaken(snapshot: Whole, paths: readonly string[]): Whole {
  const taken = new Set(paths)
  const written = [...snapshot.written.filter(({ path }) => !taken.has(path)), ...paths.map((path) => ({ path, sha256: null }))]
  return { ...snapshot, written, folders: [...snapshot.folders, ...foldersOf(paths)] }
}

/** Brings every file that a snapshot knows to what it was, and no other one; what blocks the place of one goes. */
async function putBack(home: string, snapshot: Whole, blocked: readonly string[]): Promise<void> {
  const { site, written, folders } = snapshot
  const before = keptIn(snapshot)
  const [bytecode, kept] = [[...before.values()].filter(({ path }) => isBytecode(path)), [...before.values()].filter(({ path }) => !isBytecode(path))]
  const doomed = written.filter(({ path }) => !before.has(path)).map(({ path }) => pathIn(site, path))
  const removeDoomed = async (): Promise<void> => {
    for (const file of doomed) if (await contentAt(file)) await rm(file)
  }
  const moves = await makeReady(home, snapshot, kept).catch(async (error: unknown) => {
    if (errnoOf(error) !== 'ENOSPC') throw error
    await removeDoomed() // that makes room
    return makeReady(home, snapshot, kept)
  })
  for (const [number, path] of blocked.entries()) await rename(pathIn(site, path), join(readyIn(snapshot), `blocked-${number}`))
  await removeDoomed()
  const sources = [...doomed, ...kept.map(({ path }) => pathIn(site, path))]
  await removeBytecode(sources, new Set())
  const emptied = [...new Set(folders)].map((folder) => pathIn(site, folder)).filter((folder) => folder !== site)
  for (const folder of emptied.sort((a, b) => b.length - a.length)) await rmdir(folder).catch(() => undefined) // what is not empty is somebody's
  for (const [ready, target] of moves) await move(ready, target)
  await putBytecodeBack(home, snapshot, bytecode)
  await rm(readyIn(snapshot), { recursive: true, force: true })
  for (const folder of foldersOf(sources)) await flush(folder)
}

export interface Restored {
  snapshot: Snapshot
  /** Where copies lie of what was there and may not have been ours; null: there was no such thing. */
  replaced: string | null
  /** Files that are another package's by now, or that somebody has removed: they are as they were found. */
  left: string[]
}

/**
 * Puts ComfyUI's environment back to what a snapshot kept, without network: once all that it kept is known to be whole, and nobody else has changed
 * the same files since; and looks then whether all of it is so. `force`: what others changed is copied first and put back too. For who has the turn (`hostTurn.ts`).
 * Throws VERIFY_FAILED, HOST_CHANGED, DISK_FULL or FILE_UNREADABLE.
 */
export async function restoreSnapshot(home: string, snapshot: Snapshot, force = false): Promise<Restored> {
  try {
    if (!(await isNoted(snapshot.site, snapshot.id))) await refuseOtherSite(snapshot)
    await endLeftOver(snapshot.id)
    await refuseDamaged(home, snapshot, keptIn(snapshot).values())
    const { snapshot: whole, left } = await withoutTheirs(await completed(snapshot))
    const foreign = await refuseChanged(whole, snapshot.written === undefined, force)
    const replaced = await keepReplaced(home, snapshot, foreign)
    const ours = withTaken(whole, foreign.taken)
    await saveSnapshot(home, { ...ours, state: 'open' }) // killed from here on, it is taken up again at the next start
    await putBack(home, ours, foreign.blocked)
    const wrong = await differences(ours)
    if (wrong.length > 0) {
      const hint = `Close what uses these files (ComfyUI, pip), then: comfy-env restore ${snapshot.id}`
      throw new BridgeError('VERIFY_FAILED', `ComfyUI’s environment is not yet as it was before ${snapshot.id}: ${someOf(wrong)} could not be put back.`, { hint, details: { files: wrong } })
    }
    return { snapshot: await saveSnapshot(home, { ...ours, state: 'restored' }), replaced, left }
  } catch (error) {
    if (errnoOf(error) === undefined || error instanceof BridgeError) throw error
    const { code, message } = toWire(unwritable(snapshot.site, error))
    throw new BridgeError(code, message, { hint: `Mend that, then: comfy-env restore ${snapshot.id}`, cause: error })
  }
}

/** What a user should know besides: what was copied first, and what was left. */
export function besides({ replaced, left }: Pick<Restored, 'replaced' | 'left'>): string {
  const copied = replaced === null ? '' : ` What was there is kept in ${replaced}.`
  return left.length === 0 ? copied : `${copied} ${someOf(left)}: left, other packages have it now or somebody removed it.`
}
