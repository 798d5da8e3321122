import { opendir } from 'node:fs/promises'
import { isAbsolute, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { BridgeError } from '../errors/bridgeError'
import { candidateOf, type Candidate } from '../resolve/candidate'

const MOST_ENTRIES = 50_000

/** The wheels below a folder; links are not followed. Looks at so many entries and no further: a folder may be a whole disk. */
async function wheelFiles(top: string): Promise<string[]> {
  const found: string[] = []
  const folders = [top]
  let entries = 0
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for await (const entry of await opendir(folder)) {
      if (++entries > MOST_ENTRIES) return found
      if (entry.isDirectory()) folders.push(join(folder, entry.name))
      else if (entry.isFile() && entry.name.toLowerCase().endsWith('.whl')) found.push(join(folder, entry.name))
    }
  }
  return found
}

/** Wheels below a folder. Its sub-folders may carry labels (`Torch280/CUDA 12.8/`), the folders above it never do. */
export async function folderWheels(source: string): Promise<Candidate[]> {
  const path = source.startsWith('file:') ? fileURLToPath(source) : source
  if (!isAbsolute(path)) throw new BridgeError('SOURCE_UNREACHABLE', `The wheel folder \`${path}\` is not an absolute path.`)
  const files = await wheelFiles(path).catch((cause: unknown) => {
    throw new BridgeError('SOURCE_UNREACHABLE', `The wheel folder \`${path}\` cannot be read.`, { cause })
  })
  return files.map((file) => candidateOf(pathToFileURL(file).href, source, { labelPath: relative(path, file) }))
}
