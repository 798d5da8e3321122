import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { namesIn, refuseNoFile } from '../files'
import { isFolder, isMarked, markOf } from '../mark'

/** Whether a folder of downloads is ours: it has our mark, or lies in a home that has. */
export const isOurCache = (cache: string): boolean => isMarked(cache, 'cache') || (basename(cache) === 'cache' && isFolder(cache) && isMarked(dirname(cache), 'home'))

/** Where wheels lie, each in a folder by its content's hash where that was known, else by its address's. Others' files may lie beside. */
export const wheelsIn = (cache: string): string => join(cache, 'wheels')

/** Throws FILE_UNREADABLE for what is no file, and what the system says. */
export async function sha256Of(path: string): Promise<string> {
  refuseNoFile(path, await stat(path))
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

/** Whether a folder that an earlier version has made, without a mark, is named by the content of the one wheel in it. */
async function isProvenWheel(folder: string): Promise<boolean> {
  if (!/^[0-9a-f]{32}$/.test(basename(folder))) return false
  const names = await namesIn(folder)
  const [wheel] = names
  return names.length === 1 && wheel?.endsWith('.whl') === true && (await sha256Of(join(folder, wheel)).catch(() => '')).startsWith(basename(folder))
}

/** The folders of wheels that we have downloaded. */
export async function ourWheels(cache: string): Promise<string[]> {
  const root = wheelsIn(cache)
  if (!isFolder(cache) || !isFolder(root)) return []
  const found: string[] = []
  for (const name of await namesIn(root)) {
    const folder = join(root, name)
    if (isFolder(folder) && (markOf(folder) ? isMarked(folder, 'wheel', name) : await isProvenWheel(folder))) found.push(folder)
  }
  return found
}
