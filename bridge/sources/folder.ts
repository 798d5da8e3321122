import { readdir } from 'node:fs/promises'
import { isAbsolute, join, relative } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { BridgeError } from '../errors/bridgeError'
import { candidateOf, type Candidate } from '../resolve/candidate'

const MOST_ENTRIES = 50_000

/** Wheels below a folder. Its sub-folders may carry labels (`Torch280/CUDA 12.8/`), the folders above it never do. */
export async function folderWheels(source: string): Promise<Candidate[]> {
  const path = source.startsWith('file:') ? fileURLToPath(source) : source
  if (!isAbsolute(path)) throw new BridgeError('SOURCE_UNREACHABLE', `The wheel folder \`${path}\` is not an absolute path.`)
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch((cause: unknown) => {
    throw new BridgeError('SOURCE_UNREACHABLE', `The wheel folder \`${path}\` cannot be read.`, { cause })
  })
  const wheels = entries.slice(0, MOST_ENTRIES).filter((entry) => entry.isFile() && entry.name.toLowerCase().endsWith('.whl'))
  return wheels.map((entry) => {
    const file = join(entry.parentPath, entry.name)
    return candidateOf(pathToFileURL(file).href, source, { labelPath: relative(path, file) })
  })
}
