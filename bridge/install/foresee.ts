import { lstat, readdir, readFile } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'
import type { Scheme } from '../probe/interpreter'
import { normalizeName } from '../resolve/requirement'
import { cannotKeep } from './contents'
import { parseRecord } from './record'
import { nameIn, type WrittenFile } from './snapshot'

/** The folders of packages, one or two. */
export const sitesOf = ({ purelib, platlib }: Scheme): string[] => [...new Set([purelib, platlib])]

const isBelow = (folder: string, path: string): boolean => path.startsWith(folder + sep)

/** A folder of metadata of an installed package. */
export interface DistInfo {
  site: string
  folder: string
}

/** Every `.dist-info` of a package: a broken-off installer leaves more than one. Throws VERIFY_FAILED where it is installed in another way. */
export async function distInfos(sites: readonly string[], name: string): Promise<DistInfo[]> {
  const found: DistInfo[] = []
  for (const site of sites) {
    for (const folder of await readdir(site).catch(() => [] as string[])) {
      const [own, kind] = /^(.+?)(?:-.*)?\.(dist-info|egg-info|egg-link)$/.exec(folder)?.slice(1) ?? []
      if (own === undefined || normalizeName(own) !== name) continue
      if (kind !== 'dist-info') throw cannotKeep(`${name} is installed in a way that cannot be put back (${join(site, folder)}): it does not say which files it has.`)
      found.push({ site, folder })
    }
  }
  return found
}

/** Files below a folder; links are files. */
export async function walk(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true }).catch(() => [])
  return entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name))
}

const isFolder = (path: string): Promise<boolean> => lstat(path).then((found) => found.isDirectory(), () => false)

const hex = (hash: string | null): string | null => hash && Buffer.from(hash, 'base64url').toString('hex')

/** Files that a RECORD names, with the hashes that it gives. Throws VERIFY_FAILED where it cannot be read. */
export async function recordedFiles({ site, folder }: DistInfo): Promise<{ file: string; sha256: string | null }[]> {
  const text = await readFile(join(site, folder, 'RECORD'), 'utf8').catch((cause: unknown) => Promise.reject(cannotKeep(`${join(site, folder, 'RECORD')} cannot be read: which files belong to it is not known.`, cause)))
  return parseRecord(text).map(({ path, hash }) => ({ file: resolve(site, path), sha256: hex(hash) }))
}

export const recordedPaths = async (info: DistInfo): Promise<string[]> => (await recordedFiles(info)).map(({ file }) => file)

/** Folders that an installer looks into when it removes these files: theirs, and those above them in site-packages. */
export function visited(site: string, files: readonly string[]): string[] {
  const found = new Set<string>()
  for (const file of files) for (let folder = dirname(file); isBelow(site, folder) && !found.has(folder); folder = dirname(folder)) found.add(folder)
  return [...found]
}

/**
 * Every file that goes when a package is removed: what its RECORD names (also whole folders, as uv takes them), its metadata, and all
 * bytecode in the folders of these, whoever's it is. Throws VERIFY_FAILED where the RECORD leads out of the environment.
 */
export async function filesRemovedWith(info: DistInfo, scheme: Scheme): Promise<string[]> {
  const { site, folder } = info
  const files: string[] = []
  for (const path of await recordedPaths(info)) {
    const within = Object.values(scheme).some((own) => isBelow(own, path))
    if (!within || isBelow(path, site) || path === site) throw cannotKeep(`The RECORD of ${join(site, folder)} names ${path}, which is not a file of its own.`)
    files.push(...((await isFolder(path)) ? await walk(path) : [path]))
  }
  const caches = visited(site, files).map((one) => join(one, '__pycache__'))
  const besides = await Promise.all([join(site, folder), ...caches].map(walk))
  return [...new Set([...files, ...besides.flat()])]
}

/** Where a path of one Python's folders lies in another's. Where several kinds share a folder here and not there, each counts. */
export function mapped(path: string, from: Scheme, to: Scheme): string[] {
  const kinds = (Object.keys(from) as (keyof Scheme)[]).filter((kind) => isBelow(from[kind], path))
  const longest = Math.max(...kinds.map((kind) => from[kind].length))
  return [...new Set(kinds.filter((kind) => from[kind].length === longest).map((kind) => join(to[kind], path.slice(longest))))]
}

/** What an install writes below `to`, by what the same install wrote below `from`. `site`: whose folder the names are from. */
export async function filesWritten(from: Scheme, to: Scheme, site: string): Promise<WrittenFile[]> {
  const written = new Map<string, string | null>()
  for (const staged of sitesOf(from)) {
    for (const folder of (await readdir(staged).catch(() => [] as string[])).filter((name) => name.endsWith('.dist-info'))) {
      for (const { file, sha256 } of await recordedFiles({ site: staged, folder })) {
        for (const target of mapped(file, from, to)) written.set(nameIn(site, target), isBelow(to.scripts, target) ? null : sha256) // scripts name their Python
      }
    }
  }
  return [...written].map(([path, sha256]) => ({ path, sha256 }))
}
