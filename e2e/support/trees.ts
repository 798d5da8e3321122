import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'

/** Hash over names and contents of all files below a folder, but for what Python and uv write for themselves. */
export function treeHash(folder: string, all = false): string {
  const hash = createHash('sha256')
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile() && !entry.parentPath.includes('__pycache__')).map((entry) => join(entry.parentPath, entry.name))
  for (const file of files.sort()) {
    // RECORD holds hashes of scripts that name their env's folder
    if (!all && file.endsWith('RECORD')) continue
    hash.update(`${relative(folder, file)}\0`).update(readFileSync(file))
  }
  return hash.digest('hex')
}
