import { readdir } from 'node:fs/promises'
import { normalizeName } from '../resolve/requirement'
import { contentAt, forEach, isSame } from './contents'
import { recordedFiles, visited } from './foresee'
import { keptIn, nameIn, namesOf, pathIn, type Whole } from './snapshot'

/** Files that packages have by their RECORD, with every hash that one gives; one without a hash has an empty text. */
export type Claims = Map<string, Set<string>>

/** What all packages but some have. One whose RECORD cannot be read has nothing. */
export async function claimsOfOthers(site: string, names: readonly string[]): Promise<Claims> {
  const own = new Set(names)
  const claims: Claims = new Map()
  for (const folder of (await readdir(site)).filter((name) => name.endsWith('.dist-info'))) {
    if (own.has(normalizeName(folder.replace(/(-[^-]*)?\.dist-info$/, '')))) continue
    for (const { file, sha256 } of await recordedFiles({ site, folder }).catch(() => [])) {
      const path = nameIn(site, file)
      claims.set(path, (claims.get(path) ?? new Set()).add(sha256 ?? ''))
    }
  }
  return claims
}

/** What of some paths others have, as a snapshot keeps it. */
export function claimsOn(paths: Iterable<string>, claims: Claims): Record<string, string[]> {
  return Object.fromEntries([...paths].flatMap((path) => (claims.has(path) ? [[path, [...(claims.get(path) ?? [])].sort()]] : [])))
}

/**
 * The snapshot without the files that are somebody else's by now, and these: another package was installed or updated since and has them as they lie there;
 * it has them too, and they are not to be taken from it; or nobody has them any more, and somebody has removed them.
 */
export async function withoutTheirs(snapshot: Whole): Promise<{ snapshot: Whole; left: string[] }> {
  const { site, kept, others = [], written, claims: then = {} } = snapshot
  const now = await claimsOfOthers(site, namesOf(snapshot))
  const before = keptIn(snapshot)
  const shared = new Set(others.map(({ path }) => path))
  const [theirs, gone] = [new Set<string>(), new Set<string>()]
  await forEach(new Set([...before.keys(), ...written.map(({ path }) => path)]), async (path) => {
    const [content, was, claims] = [await contentAt(pathIn(site, path)), before.get(path) ?? null, now.get(path)]
    if (isSame(content, was)) return
    const isNew = content !== null && content.link === undefined && claims?.has(content.sha256) && !then[path]?.includes(content.sha256)
    const isTaken = content !== null && was === null && claims !== undefined
    if (isNew || isTaken) theirs.add(path)
    else if (content === null && claims === undefined && shared.has(path)) gone.add(path)
  })
  const notTheirs = ({ path }: { path: string }): boolean => !theirs.has(path)
  const rest = {
    kept: kept.map(({ name, version, files }) => ({ name, version, files: files.filter(notTheirs) })),
    others: others.filter(({ path }) => !theirs.has(path) && !gone.has(path)),
    written: written.filter(notTheirs),
    folders: [...snapshot.folders, ...visited(site, [...gone].map((path) => pathIn(site, path))).map((folder) => nameIn(site, folder))],
  }
  return { snapshot: { ...snapshot, ...rest }, left: [...theirs, ...gone].sort() }
}
