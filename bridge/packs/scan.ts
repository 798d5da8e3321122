import { readdir, realpath, stat } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { PackId } from '../../schemas/ids'
import { BridgeError } from '../errors/bridgeError'

/** A node pack's folder. */
export interface PackFolder {
  id: string
  dir: string
}

async function isPack(dir: string): Promise<boolean> {
  const has = (name: string): Promise<boolean> => stat(join(dir, name)).then((found) => found.isFile(), () => false)
  return (await has('__init__.py')) || (await has('pyproject.toml'))
}

/** The node packs below the given `custom_nodes` folders. Disabled and hidden folders are no packs. */
export async function scanPacks(roots: readonly string[]): Promise<PackFolder[]> {
  const found = new Map<string, PackFolder>()
  for (const root of roots) {
    for (const name of await readdir(root).catch(() => [] as string[])) {
      const skipped = name.startsWith('.') || name === '__pycache__' || name.endsWith('.disabled')
      if (skipped || found.has(name) || !PackId.safeParse(name).success) continue
      const dir = join(root, name)
      if (await isPack(dir)) found.set(name, { id: name, dir })
    }
  }
  return [...found.values()].sort((a, b) => a.id.localeCompare(b.id))
}

/** The folder of a pack that someone named: by id below one of the roots, or as a folder (command line only). */
export async function findPack(roots: readonly string[], id: string): Promise<PackFolder> {
  const packs = await scanPacks(roots)
  const found = packs.find((pack) => pack.id === id)
  if (!found) throw new BridgeError('UNKNOWN_PACK', `There is no node pack \`${id.slice(0, 128)}\` in ${roots.join(', ') || 'ComfyUI'}.`)
  return found
}

/** A folder that the command line named as a pack. */
export async function packAt(dir: string): Promise<PackFolder> {
  const real = await realpath(dir).catch(() => null)
  const id = real?.split(sep).at(-1) ?? ''
  if (!real || !PackId.safeParse(id).success || !(await stat(real)).isDirectory()) {
    throw new BridgeError('UNKNOWN_PACK', `There is no node pack in \`${dir}\`.`)
  }
  return { id, dir: real }
}
