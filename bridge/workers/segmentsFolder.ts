import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { lstat, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { BridgeError } from '../errors/bridgeError'

/** Memory that is a folder: of every Linux. */
const MEMORY = '/dev/shm'

/**
 * Makes the folder for shared memory that has names, and removes what a killed bridge of the same home has left. In it lies one folder for each
 * process: a sandboxed worker writes into its own, and reads the others. Throws FORBIDDEN where another user has taken its name.
 */
export async function makeSegmentsFolder(home: string): Promise<string> {
  const uid = process.getuid?.() ?? -1
  const folder = join(MEMORY, `envmanager-${uid}-${createHash('sha256').update(home).digest('hex').slice(0, 12)}`)
  const found = await lstat(folder).catch(() => null)
  if (found && (!found.isDirectory() || found.uid !== uid)) {
    throw new BridgeError('FORBIDDEN', `${folder} belongs to somebody else.`, { hint: 'Remove it, or switch the sandbox off in settings.toml.' })
  }
  await rm(folder, { recursive: true, force: true })
  await mkdir(join(folder, 'host'), { recursive: true, mode: 0o700 })
  return folder
}

/** The folder of one process in it. */
export function makeOwnFolder(segments: string, owner: string): void {
  mkdirSync(join(segments, owner), { mode: 0o700 })
}

/** Its process has gone. */
export function removeOwnFolder(segments: string, owner: string): void {
  if (existsSync(segments)) rmSync(join(segments, owner), { recursive: true, force: true })
}
