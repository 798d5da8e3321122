import { readdirSync, realpathSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { basename, dirname, join, parse, sep } from 'node:path'
import { BridgeError } from './errors/bridgeError'
import { errnoOf, unreadable } from './files'
import { isProvenCache, isProvenHome } from './homeProof'
import { isLink, markFolder, type MarkedKind, readMark } from './mark'
import type { Settings } from './settings'
import { userFolder } from './user'

// Whether the folders that a user has named for environments and downloads can be ours: absent, empty, with our mark, or of an earlier version, which made none.

type Kind = Extract<MarkedKind, 'home' | 'cache'>

/** Folders that we make at the top of a home. */
const FOLDERS = ['envs', 'jobs', 'logs', 'run', 'locks', 'classes', 'snapshots', 'cache']

/** All names that we make there. */
const MADE: Record<Kind, RegExp> = {
  // earlier versions could have both in one folder
  home: /^(envs|jobs|logs|run|locks|classes|snapshots|cache|uv|wheels|pages|plan-\w{6}|(state\.json|settings\.toml)(\.unreadable|\.(\d+-)?[0-9a-f]{12}\.tmp)?)$/,
  cache: /^(uv|wheels|pages|locks)$/,
}
/** What users put there before we come, what systems put anywhere, and what is left of a mark. */
const NEUTRAL = /^(settings\.toml|allow-remote|\.DS_Store|\.localized|Thumbs\.db|desktop\.ini|lost\+found|\.comfyui-envmanager(\.\d+-[0-9a-f]{12}\.tmp)?)$/

const PURPOSE: Record<Kind, string> = { home: 'the folder for environments', cache: 'the folder for downloads' }

/** A path without links on its way; what is not there yet stays as it is. */
function realOf(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    const above = dirname(path)
    return above === path ? path : join(realOf(above), basename(path))
  }
}

/** Where this ComfyUI has its code, its own folders and what it empties. */
type HostPlaces = Pick<Settings, 'comfyui' | 'base' | 'temp'>

/** Whether a path is a folder or lies in it. */
const isIn = (path: string, folder: string): boolean => path === folder || path.startsWith(folder + sep)

/** Why nothing of ours may be at a place, whatever is there; null: it may. */
function placeFault(path: string, { comfyui, base, temp }: HostPlaces): string | null {
  const own = userFolder()
  const roots = [comfyui, base].filter((root) => root !== null).map(realOf)
  const emptied = [...roots.map((root) => join(root, 'temp')), ...(temp === null ? [] : [realOf(temp)])]
  const root = roots.find((one) => isIn(path, one)) ?? ''
  const parts = path.slice(root.length).split(sep)
  if (path === parse(path).root) return 'it is the root of a disk'
  if (own !== null && path === realOf(own)) return 'it is your own home folder'
  if (parts.includes('custom_nodes')) return 'it lies among ComfyUI’s node packs'
  if (roots.includes(path)) return 'it is ComfyUI’s own folder'
  if (emptied.some((folder) => isIn(path, folder))) return 'ComfyUI empties it at each start'
  return parts.includes('~') ? 'it begins with `~`, and the folder that this stands for is not known' : null
}

/** Names in a folder; null: it is not there. Throws FILE_UNREADABLE. */
function namesOf(folder: string): string[] | null {
  try {
    return readdirSync(folder)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return null
    throw unreadable(folder, errnoOf(error) === 'ENOTDIR' ? 'it is no folder' : error instanceof Error ? error.message : String(error), { cause: error })
  }
}

/** Why a folder is not ours by what it holds, but for what is `known`; null: it is, or there is nothing in it. Throws FILE_UNREADABLE. */
function contentFault(folder: string, kind: Kind, known = ''): string | null {
  const names = namesOf(folder)
  if (names === null) return null
  const mark = readMark(folder) // read after the names: what lies in a folder that is being made was made after its mark
  if (mark) return mark.kind === kind ? null : 'it is another folder of ours'
  const made = names.filter((name) => !NEUTRAL.test(name) && join(folder, name) !== known)
  const foreign = made.find((name) => !MADE[kind].test(name))
  if (foreign !== undefined) return `it holds \`${foreign}\`, which we have not made`
  const isProven = kind === 'home' ? isProvenHome : isProvenCache
  return made[0] === undefined || isProven(folder) ? null : `it holds \`${made[0]}\`, and nothing shows that we have made it`
}

/** An environment or a snapshot of ours that a place lies in: whoever deletes that would delete it too. */
function holderFault(path: string): string | null {
  const above = dirname(path)
  if (above === path) return null
  const mark = readMark(above)
  return mark && mark.kind !== 'home' && mark.kind !== 'cache' ? `it lies in ${above}, which is another folder of ours` : holderFault(above)
}

function faultOf(folder: string, kind: Kind, host: HostPlaces, known?: string): string | null {
  const real = realOf(folder)
  return placeFault(real, host) ?? holderFault(real) ?? contentFault(real, kind, known && realOf(known))
}

/** The link in place of one of our folders in a home; undefined: there is none. */
const linkIn = (home: string): string | undefined => FOLDERS.map((name) => join(home, name)).find(isLink)

const CHOOSE: Record<Kind, string> = {
  home: 'Name a folder that is empty or not there yet, with COMFY_ENV_HOME or --home.',
  cache: 'Name a folder that is empty or not there yet, with COMFY_ENV_CACHE.',
}

function refuse(folder: string, kind: Kind, host: HostPlaces, known?: string): void {
  const fault = faultOf(folder, kind, host, known)
  if (fault !== null) throw new BridgeError('NOT_OURS', `${folder} cannot be ${PURPOSE[kind]}: ${fault}.`, { hint: CHOOSE[kind] })
}

/**
 * Where downloads lie: in the home, or in the folder that the user has named, if that is ours. In one that holds anything else they get a folder of their own, and
 * the rest stays as it is.
 */
export function cacheFolder(named: string | null, home: string): string {
  const own = join(home, 'cache')
  if (named === null || named === home || named === own) return own
  try {
    return contentFault(realOf(named), 'cache') === null ? named : join(named, 'comfyui-envmanager')
  } catch {
    return named
  }
}

/** Throws NOT_OURS, before anything is made in them, for a home or a cache that cannot be ours, and FILE_UNREADABLE where that cannot be looked at. */
export function refuseForeign({ home, cache, ...host }: Pick<Settings, 'home' | 'cache'> & HostPlaces): void {
  refuse(home, 'home', host, cache)
  const link = linkIn(home)
  if (link !== undefined) throw new BridgeError('NOT_OURS', `${link} is a link to another folder, and nothing of ours is kept behind a link.`, { hint: 'Remove the link, or name that other place with COMFY_ENV_HOME, for downloads with COMFY_ENV_CACHE.' })
  if (cache !== join(home, 'cache')) refuse(cache, 'cache', host)
}

async function take(folder: string, kind: Kind): Promise<void> {
  await mkdir(dirname(folder), { recursive: true })
  // other users of the computer have no business in it; one that was there keeps its rights
  await mkdir(folder, { mode: 0o700 }).catch((error: unknown) => (errnoOf(error) === 'EEXIST' ? undefined : Promise.reject(error)))
  await markFolder(realOf(folder), kind)
}

/** Makes the home and the cache, and marks them, before anything else is in them. Never throws: who writes into them says why that cannot be. */
export async function takeHome({ home, cache }: Pick<Settings, 'home' | 'cache'>): Promise<void> {
  await take(home, 'home').catch(() => undefined)
  if (cache !== join(home, 'cache')) await take(cache, 'cache').catch(() => undefined)
}
