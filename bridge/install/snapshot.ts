import { randomBytes } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { dirname, join, relative, resolve, sep } from 'node:path'
import { z } from 'zod'
import { toWire } from '../errors/bridgeError'
import { namesIn } from '../files'
import { isMarked, removeMarked } from '../mark'
import { lockIn } from '../osLock'
import { readState, rewriteState } from '../stateFile'
import { endLeftOver } from './leftOver'
import { noteClosed, noteOpen } from './siteTurn'

/** A file as it was before the change. Paths are below site-packages, with `/`; `..` leads to scripts and data beside it. */
const KeptFile = z.strictObject({
  path: z.string(),
  sha256: z.string(),
  mode: z.number().optional(),
  mtime: z.number().optional().describe('milliseconds since 1970: what Python knows its bytecode by'),
  link: z.string().optional().describe('where a symbolic link leads; it has no copy'),
})
export type KeptFile = z.infer<typeof KeptFile>

/** A file that the change writes. `sha256` null: not known before it is there (scripts, RECORD). */
const WrittenFile = z.strictObject({ path: z.string(), sha256: z.string().nullable() })
export type WrittenFile = z.infer<typeof WrittenFile>

/**
 * What ComfyUI's own environment was before we changed it. `open`: the change or its undoing is under way, and whoever finds it so undoes it;
 * `done`: it stands, and can be undone; `restored`: it was undone.
 */
const Snapshot = z.strictObject({
  schema: z.literal(1),
  id: z.string(),
  state: z.enum(['open', 'done', 'restored']),
  created: z.number(),
  pack: z.string(),
  interpreter: z.string(),
  site: z.string(),
  /** Which folder `site` was (`siteIdentity.ts`). */
  identity: z.string().optional(),
  /** While it is open, a note beside the packages says so (`siteTurn.ts`). Absent: an older version wrote it. */
  noted: z.literal(true).optional(),
  added: z.array(z.string()),
  /** Packages that are replaced, with the files that go with them. */
  kept: z.array(z.strictObject({ name: z.string(), version: z.string(), files: z.array(KeptFile) })),
  /** Files of other packages, or of none, that are written over or go with a folder. */
  others: z.array(KeptFile).optional(),
  /** All that the change writes, kept files or new ones. Absent: an older version took the snapshot, and knew only `kept` and `added`. */
  written: z.array(WrittenFile).optional(),
  /** Folders that were not there. */
  folders: z.array(z.string()).optional(),
  /** Which of all these files other packages had too, with the hashes in their RECORDs. */
  claims: z.record(z.string(), z.array(z.string())).optional(),
})
export type Snapshot = z.infer<typeof Snapshot>

/** A snapshot that knows all that the change wrote. */
export interface Whole extends Snapshot {
  written: WrittenFile[]
  folders: string[]
}

/** The packages that the change is about. */
export const namesOf = ({ added, kept }: Snapshot): string[] => [...added, ...kept.map(({ name }) => name)]

export const snapshotsIn = (home: string): string => join(home, 'snapshots')
export const folderOf = (home: string, id: string): string => join(snapshotsIn(home), id)
const recordOf = (home: string, id: string): string => join(folderOf(home, id), 'snapshot.json')

/** What everything that a home changes in ComfyUI's own environment holds. */
export const hostLock = (home: string): string => lockIn(home, 'comfyui-own')

/** What a process of a home holds while it changes packages, beside the turn at them: who waits for that turn does not hold it. */
export const changeLock = (home: string): string => lockIn(home, 'comfyui-changing')

/** A name that no other snapshot has. */
export const newSnapshotId = (): string => `${new Date().toISOString().replace(/[:.]/g, '-')}-${randomBytes(4).toString('hex')}`

/** One snapshot's record; null: there is none, or it is of another name. Throws FILE_UNREADABLE. */
export async function readSnapshot(home: string, id: string): Promise<Snapshot | null> {
  const found = await readState(recordOf(home, id), Snapshot)
  return found && found.value.id === id ? found.value : null // a copy that somebody has made is none
}

/** Throws DISK_FULL, FILE_UNWRITABLE or FILE_UNREADABLE. */
export async function saveSnapshot(home: string, snapshot: Snapshot): Promise<Snapshot> {
  const { site, id, state } = snapshot
  const save = (value: Snapshot): Promise<Snapshot> => rewriteState(recordOf(home, id), Snapshot, () => value)
  if (state !== 'open') {
    const saved = await save(snapshot)
    await noteClosed(site, home, id)
    return saved
  }
  // a kill between two of these leaves a note whose record says that nothing is half-way, and never a record whose change is not noted
  if ((await readSnapshot(home, id).catch(() => null)) === null) await save({ ...snapshot, state: 'restored' })
  await noteOpen(site, home, id)
  return save({ ...snapshot, noted: true })
}

/** Every snapshot that can be read, newest first, and what keeps the others from it. */
export async function listSnapshots(home: string): Promise<{ snapshots: Snapshot[]; faults: string[] }> {
  const faults: string[] = []
  const read = async (name: string): Promise<Snapshot[]> => {
    const found = await readSnapshot(home, name).catch((error: unknown) => void faults.push(toWire(error).message))
    return found ? [found] : []
  }
  const all = await Promise.all((await namesIn(snapshotsIn(home))).map(read))
  return { snapshots: all.flat().sort((a, b) => b.created - a.created), faults }
}

const placeOf = (site: string): string => {
  try {
    return realpathSync(site)
  } catch {
    return site
  }
}

/** Whether two folders of packages are one, by whatever paths. */
export const isOneSite = (one: string, other: string): boolean => one === other || placeOf(one) === placeOf(other)

/** The change of the same environment that stands on top of this one, so that this one cannot be put back before it; undefined: none. */
export const onTopOf = (all: Snapshot[], { created, site }: Snapshot): Snapshot | undefined => all.find((one) => one.created > created && one.state === 'done' && isOneSite(one.site, site))

const ID = /^\d{4}-\d\d-\d\dT[\d-]+Z-[0-9a-f]{4,8}$/

/** What killed installs of ours left: folders without a record, which have changed nothing, and what was only tried. */
export async function leftOverFolders(home: string): Promise<{ id: string; folder: string }[]> {
  const left = async (id: string): Promise<{ id: string; folder: string }[]> => {
    const names = await namesIn(folderOf(home, id))
    if (!isMarked(folderOf(home, id), 'snapshot', id)) return []
    if (!names.includes('snapshot.json')) return [{ id, folder: folderOf(home, id) }]
    return names.includes('stage') ? [{ id, folder: stageOf(home, id) }] : []
  }
  return (await Promise.all((await namesIn(snapshotsIn(home))).filter((one) => ID.test(one)).map(left))).flat()
}

/** Deletes it. For who has the turn (`hostTurn.ts`). */
export async function sweepSnapshots(home: string): Promise<void> {
  for (const { id, folder } of await leftOverFolders(home)) {
    const remove = (): Promise<void> => (folder === stageOf(home, id) ? rm(folder, { recursive: true, force: true }) : removeMarked(folder))
    await endLeftOver(id).then(remove).catch(() => undefined) // the next start tries again
  }
}

/** Where the change is tried before it is made. */
export const stageOf = (home: string, id: string): string => join(folderOf(home, id), 'stage')

export const pathIn = (site: string, path: string): string => resolve(site, path)
export const nameIn = (site: string, file: string): string => relative(site, file).split(sep).join('/')

/** The copy of a kept file: `..` of scripts becomes a name of its own. */
export const copyOf = (home: string, id: string, path: string): string => join(folderOf(home, id), 'files', ...path.split('/').map((part) => (part === '..' ? '__up' : part)))

/** All that is kept, each path once. */
export function keptIn({ kept, others = [] }: Snapshot): Map<string, KeptFile> {
  return new Map([...kept.flatMap(({ files }) => files), ...others].map((file) => [file.path, file]))
}

/** Folders of some paths, each once. */
export const foldersOf = (paths: Iterable<string>): string[] => [...new Set([...paths].map((path) => dirname(path)))]
