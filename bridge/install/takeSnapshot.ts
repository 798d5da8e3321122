import { stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { BridgeError } from '../errors/bridgeError'
import { flush } from '../files'
import { readInstalled } from '../packs/installed'
import { askInterpreter, type Scheme } from '../probe/interpreter'
import { normalizeName } from '../resolve/requirement'
import { removeBytecode, isBytecode, sourceOf } from './bytecode'
import { claimsOfOthers, claimsOn } from './claims'
import { cannotKeep, contentAt, copyFlushed, flushFile, forEach, someOf } from './contents'
import { sha256Of } from './cache'
import { pythonIn } from './envStore'
import { distInfos, filesRemovedWith, filesWritten, recordedPaths, sitesOf } from './foresee'
import type { InPlaceInput } from './inPlace'
import { identityOf } from './siteIdentity'
import { copyOf, folderOf, foldersOf, type KeptFile, keptIn, listSnapshots, nameIn, pathIn, saveSnapshot, snapshotsIn, type Snapshot, stageOf } from './snapshot'

type Kept = Snapshot['kept'][number]

/** Keeps files as they are. What is no file is not kept: an install that it stands in the way of fails, and is undone. */
async function keepFiles(home: string, id: string, site: string, files: readonly string[]): Promise<KeptFile[]> {
  const kept = new Map<string, KeptFile>()
  await forEach(new Set(files), async (file) => {
    const path = nameIn(site, file)
    const content = await contentAt(file)
    if (content === null) return
    kept.set(path, { path, ...content })
    if (content.link === undefined) await copyFlushed(file, copyOf(home, id, path))
  })
  return [...kept.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
}

/** Throws VERIFY_FAILED unless every copy has the content that was there: two names may be one on this file system, and disks fail. */
async function refuseOther(home: string, id: string, kept: Iterable<KeptFile>): Promise<void> {
  await forEach(kept, async ({ path, sha256, link }) => {
    const same = link !== undefined || (await sha256Of(copyOf(home, id, path)).catch(() => null)) === sha256
    if (!same) throw cannotKeep(`The copy of ${path} is not what it is of.`)
  })
}

/** What goes when the packages are replaced, by package, with its own bytecode left out: Python makes that again. */
async function removedFiles(names: readonly string[], scheme: Scheme): Promise<Map<string, string[]>> {
  const removed = new Map<string, string[]>()
  for (const name of names) {
    const infos = await distInfos(sitesOf(scheme), name)
    const files = (await Promise.all(infos.map((info) => filesRemovedWith(info, scheme)))).flat()
    const recorded = new Set((await Promise.all(infos.map(recordedPaths))).flat())
    removed.set(name, files.filter((file) => !isBytecode(file) || recorded.has(file) || !recorded.has(sourceOf(file))))
  }
  return removed
}

/** Folders that are not there yet; a file may be in the place of one. */
async function newFolders(site: string, files: readonly string[]): Promise<string[]> {
  const found = new Set<string>()
  for (const start of foldersOf(files)) {
    for (let folder = start; !found.has(folder) && !(await stat(folder).then((there) => there.isDirectory(), () => false)); folder = dirname(folder)) found.add(folder)
  }
  return [...found].map((folder) => nameIn(site, folder))
}

/** Keeps every file that the staged change will write over or remove, whoever's it is, and notes what it will add, before anything is touched. */
export async function takeSnapshot({ full, home, site, interpreter }: InPlaceInput, id: string, scheme: Scheme): Promise<Snapshot> {
  const staged = await askInterpreter(pythonIn(stageOf(home, id)))
  const installed = await readInstalled(sitesOf(scheme))
  const names = full.lock.packages.map(({ name }) => normalizeName(name))
  const removed = await removedFiles(names, scheme)
  const written = await filesWritten(staged.scheme, scheme, site)
  const kept: Kept[] = []
  for (const [name, files] of removed) if (files.length > 0) kept.push({ name, version: installed.get(name) ?? '', files: await keepFiles(home, id, site, files) })
  const own = new Set(kept.flatMap(({ files }) => files.map(({ path }) => path)))
  const targets = written.map(({ path }) => pathIn(site, path))
  const others = await keepFiles(home, id, site, written.filter(({ path }) => !own.has(path)).map(({ path }) => pathIn(site, path)))
  const { snapshots } = await listSnapshots(home)
  const created = Math.max(Date.now(), (snapshots[0]?.created ?? 0) + 1) // their order is what stands on what, also where the clock was set back
  const added = names.filter((name) => removed.get(name)?.length === 0)
  const paths = new Set([...own, ...written.map(({ path }) => path)])
  const about = { folders: await newFolders(site, targets), claims: claimsOn(paths, await claimsOfOthers(site, names)) }
  const snapshot: Snapshot = { schema: 1, id, state: 'open', created, pack: full.lock.pack, interpreter, site, identity: (await identityOf(site)) ?? undefined, added, kept, others, written, ...about }
  await refuseOther(home, id, keptIn(snapshot).values())
  for (const folder of foldersOf([...keptIn(snapshot).keys()].map((path) => copyOf(home, id, path)))) await flush(folder)
  for (const folder of [join(folderOf(home, id), 'files'), folderOf(home, id), snapshotsIn(home)]) await flush(folder)
  return saveSnapshot(home, snapshot)
}

/**
 * The snapshot with what the change has left: only files that are still so are ours to take away again. Everything of it is on the disk
 * then, and no bytecode of what was there before is left. Throws VERIFY_FAILED where uv wrote more than was foreseen.
 */
export async function withResult(snapshot: Snapshot, names: readonly string[], scheme: Scheme): Promise<Snapshot> {
  const { site, written = [] } = snapshot
  const foreseen = new Set(written.map(({ path }) => path))
  const infos = (await Promise.all(names.map((name) => distInfos(sitesOf(scheme), name)))).flat()
  const recorded = (await Promise.all(infos.map(recordedPaths))).flat().map((file) => nameIn(site, file))
  const strange = recorded.filter((path) => !foreseen.has(path))
  if (strange.length > 0) throw new BridgeError('VERIFY_FAILED', `uv wrote ${someOf(strange)}, which was not foreseen; the install was undone.`)
  const targets = written.map(({ path }) => pathIn(site, path))
  await removeBytecode([...targets, ...[...keptIn(snapshot).keys()].map((path) => pathIn(site, path))], new Set(targets))
  const left = new Map<string, string>()
  await forEach(written, async ({ path }) => {
    const file = pathIn(site, path)
    const content = await contentAt(file)
    if (content === null) return
    if (content.link === undefined) await flushFile(file)
    left.set(path, content.sha256)
  })
  for (const folder of foldersOf(targets)) await flush(folder)
  return { ...snapshot, written: written.flatMap(({ path }) => (left.has(path) ? [{ path, sha256: left.get(path) ?? null }] : [])) }
}
