import { join, resolve } from 'node:path'
import type { Scheme } from '../probe/interpreter'
import { isBytecode } from './bytecode'
import { claimsOfOthers } from './claims'
import { contentAt, forEach, isSame } from './contents'
import { type DistInfo, distInfos, filesRemovedWith, visited, walk } from './foresee'
import { keptIn, nameIn, namesOf, pathIn, type Snapshot, type Whole } from './snapshot'

/** Where the folders of an environment lie, by its site-packages: what is undone may be what keeps its Python from answering. */
function schemeOf(site: string): Scheme {
  const windows = process.platform === 'win32'
  const data = windows ? resolve(site, '..', '..') : resolve(site, '..', '..', '..')
  return { purelib: site, platlib: site, scripts: join(data, windows ? 'Scripts' : 'bin'), headers: join(data, 'include'), data }
}

async function infosOf(site: string, names: readonly string[]): Promise<DistInfo[]> {
  return (await Promise.all(names.map((name) => distInfos([site], name)))).flat()
}

/** What goes with some packages and belongs to no other. A package whose RECORD a broken-off install has taken has its metadata only. */
async function filesOfOnly(site: string, names: readonly string[], infos: readonly DistInfo[]): Promise<string[]> {
  const others = await claimsOfOthers(site, names)
  const files = await Promise.all(infos.map((info) => filesRemovedWith(info, schemeOf(site)).catch(() => walk(join(site, info.folder)))))
  return [...new Set(files.flat())].filter((file) => !others.has(nameIn(site, file)) && !isBytecode(file))
}

/** Adds to a snapshot of an older version what the packages that it names have written, as far as no other package has it too. */
export async function completed(snapshot: Snapshot): Promise<Whole> {
  const { site, written, folders } = snapshot
  if (written) return { ...snapshot, written, folders: folders ?? [] }
  const files = await filesOfOnly(site, namesOf(snapshot), await infosOf(site, namesOf(snapshot)))
  return { ...snapshot, written: files.map((file) => ({ path: nameIn(site, file), sha256: null })), folders: visited(site, files).map((folder) => nameIn(site, folder)) }
}

/** What somebody else changed since: files that are neither as before nor as the change left them, and files of packages that came in place of ours. */
export interface Since {
  changed: string[]
  packages: string[]
  /** Files of those packages that no other has. */
  foreign: string[]
}

export async function changedSince(snapshot: Whole): Promise<Since> {
  const { site, written } = snapshot
  const before = keptIn(snapshot)
  const after = new Map(written.map(({ path, sha256 }) => [path, sha256]))
  const known = new Set([...before.keys(), ...after.keys()])
  const changed: string[] = []
  await forEach(known, async (path) => {
    const now = await contentAt(pathIn(site, path))
    if (now === null || isBytecode(pathIn(site, path)) || isSame(now, before.get(path) ?? null)) return
    const ours = after.get(path)
    if (ours === undefined || (ours !== null && !isSame(now, { sha256: ours }))) changed.push(path)
  })
  const folders = new Set([...known].map((path) => path.split('/')[0]))
  const infos = (await infosOf(site, namesOf(snapshot))).filter(({ folder }) => !folders.has(folder))
  const foreign = infos.length === 0 ? [] : (await filesOfOnly(site, namesOf(snapshot), infos)).map((file) => nameIn(site, file)).filter((path) => !known.has(path))
  return { changed: changed.sort(), packages: infos.map(({ folder }) => folder.replace(/\.dist-info$/, '')), foreign }
}

/** The files that a restore takes away or writes over, so that a copy of them is made first: all of which it is not known that we wrote them. */
export async function unknownFiles(snapshot: Whole): Promise<string[]> {
  const before = keptIn(snapshot)
  const found: string[] = []
  await forEach(new Set([...before.keys(), ...snapshot.written.map(({ path }) => path)]), async (path) => {
    const now = await contentAt(pathIn(snapshot.site, path))
    if (now !== null && !isSame(now, before.get(path) ?? null)) found.push(path)
  })
  return found
}
