import { createHash } from 'node:crypto'
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename, join, relative } from 'node:path'

/** What is no part of what is compared: bytecode, which Python writes for itself, and the lock that we leave beside packages (ADR 20). */
const isBeside = (path: string): boolean => path.includes('__pycache__') || basename(path) === '.envmanager.lock'

/** Hash over names and contents of all files below a folder, but for what Python, uv and our locks write for themselves. */
export function treeHash(folder: string, all = false): string {
  const hash = createHash('sha256')
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name)).filter((path) => !isBeside(path))
  for (const file of files.sort()) {
    // RECORD holds hashes of scripts that name their env's folder
    if (!all && file.endsWith('RECORD')) continue
    hash.update(`${relative(folder, file)}\0`).update(readFileSync(file))
  }
  return hash.digest('hex')
}

/** Every file and link below a folder with its mode and content, but for bytecode and our lock. */
export function treeState(folder: string): Record<string, string> {
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => !isBeside(path)).sort()
  const stateOf = (path: string): string => {
    const found = lstatSync(path)
    if (found.isSymbolicLink()) return `link to ${readlinkSync(path)}`
    return found.isDirectory() ? 'folder' : `${(found.mode & 0o777).toString(8)} ${createHash('sha256').update(readFileSync(path)).digest('hex')}`
  }
  return Object.fromEntries(paths.map((path) => [path, stateOf(join(folder, path))]))
}
