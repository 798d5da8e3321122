import { isUtf8 } from 'node:buffer'
import { lstat, readdir, realpath, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { PackId } from '../../schemas/ids'
import { BridgeError } from '../errors/bridgeError'
import { reasonOf } from '../errors/systemError'
import { errnoOf, isAbsent, unreadable } from '../files'

/** A node pack's folder. */
export interface PackFolder {
  id: string
  dir: string
  /** Why nothing can be done with it; absent: something can. */
  fault?: BridgeError
}

/** A name that is not UTF-8 as Python spells it (`surrogateescape`): ComfyUI reports the pack by that. */
export function escapedName(name: Buffer): string {
  if (isUtf8(name)) return name.toString()
  let text = ''
  for (let at = 0; at < name.length; ) {
    const length = [1, 2, 3, 4].find((count) => at + count <= name.length && isUtf8(name.subarray(at, at + count)))
    text += length === undefined ? String.fromCharCode(0xdc00 + (name[at] ?? 0)) : name.toString('utf8', at, at + length)
    at += length ?? 1
  }
  return text
}

/** Whether a folder is a pack. Throws why that cannot be told. */
async function isPack(root: string, name: Buffer): Promise<boolean> {
  const has = async (file: string): Promise<boolean> => {
    try {
      return (await stat(Buffer.concat([Buffer.from(root + sep), name, Buffer.from(sep + file)]))).isFile()
    } catch (error) {
      if (isAbsent(error)) return false
      throw error
    }
  }
  return (await has('__init__.py')) || (await has('pyproject.toml'))
}

/**
 * Whether a folder is a git clone that has not ended, or was broken off: git writes the index when all files are there. What its author has only begun
 * (`git init`) has no index either, and no branches of others.
 */
async function isHalfCloned(dir: string): Promise<boolean> {
  const has = (name: string): Promise<boolean> => stat(join(dir, '.git', name)).then(() => true, (error: unknown) => !isAbsent(error))
  return !(await has('index')) && (await has(join('refs', 'remotes')))
}

async function faultOf({ id, dir }: PackFolder): Promise<BridgeError | null> {
  if (!(await isHalfCloned(dir))) return null
  return new BridgeError('PACK_INCOMPLETE', `The git clone of ${id} has not ended, or was broken off.`)
}

async function packIn(root: string, name: Buffer): Promise<PackFolder | null> {
  const id = escapedName(name)
  const pack = { id, dir: join(root, id) }
  try {
    if (!(await isPack(root, name))) return null
  } catch (error) {
    // of hidden ones, such as a disk's trash, nobody expects that they are packs
    return id.startsWith('.') ? null : { ...pack, fault: unreadable(pack.dir, reasonOf(error), { cause: error }) }
  }
  if (isUtf8(name)) {
    const fault = await faultOf(pack)
    return fault ? { ...pack, fault } : pack
  }
  const fault = new BridgeError('CONFIG_INVALID', 'The name of its folder is not UTF-8: it cannot be isolated, and gets no environment.', { hint: 'Rename the folder.' })
  return { ...pack, fault }
}

/**
 * The node packs below the given `custom_nodes` folders, as ComfyUI finds them. Disabled folders are no packs. What is odd about one is its own
 * fault; a folder of packs that cannot be read is told to `onFault`, and the others' packs are found.
 */
export async function scanPacks(roots: readonly string[], onFault: (fault: BridgeError) => void = () => undefined): Promise<PackFolder[]> {
  const found = new Map<string, PackFolder>()
  for (const root of roots) {
    const names = await readdir(root, { encoding: 'buffer' }).catch((error: unknown) => {
      if (errnoOf(error) !== 'ENOENT') onFault(unreadable(root, reasonOf(error), { cause: error }))
      return []
    })
    for (const name of names) {
      const id = escapedName(name)
      if (id === '__pycache__' || id.endsWith('.disabled') || found.has(id)) continue
      const pack = await packIn(root, name)
      if (pack) found.set(id, pack)
    }
  }
  return [...found.values()].sort((a, b) => a.id.localeCompare(b.id))
}

/** The folder of a pack that someone named: by id below one of the roots, or as a folder (command line only). Throws UNKNOWN_PACK, or why nothing can be done with it. */
export async function findPack(roots: readonly string[], id: string): Promise<PackFolder> {
  const packs = await scanPacks(roots)
  const found = packs.find((pack) => pack.id === id)
  if (!found) throw new BridgeError('UNKNOWN_PACK', `There is no node pack \`${id.slice(0, 128)}\` in ${roots.join(', ') || 'ComfyUI'}.`)
  if (found.fault) throw found.fault
  return found
}

/** A link among ComfyUI's packs: its own name is the pack's, as ComfyUI has it. Null: the path is none. */
async function linkedPack(path: string): Promise<string | null> {
  if (basename(dirname(path)) !== 'custom_nodes') return null
  return (await lstat(path).then((found) => found.isSymbolicLink(), () => false)) ? path : null
}

/** A folder that the command line named as a pack. Throws UNKNOWN_PACK or PACK_INCOMPLETE. */
export async function packAt(dir: string): Promise<PackFolder> {
  const real = await realpath(dir).catch(() => null)
  const path = real && ((await linkedPack(resolve(dir))) ?? real)
  const id = path === null ? '' : basename(path)
  if (path === null || !PackId.safeParse(id).success || !(await stat(path)).isDirectory()) {
    throw new BridgeError('UNKNOWN_PACK', `There is no node pack in \`${dir}\`.`)
  }
  const pack = { id, dir: path }
  const fault = await faultOf(pack)
  if (fault) throw fault
  return pack
}
