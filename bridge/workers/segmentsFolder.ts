import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { lstat, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { BridgeError } from '../errors/bridgeError'

/** Memory that is a folder: of every Linux. */
const MEMORY = '/dev/shm'

const uid = (): number => process.getuid?.() ?? 0

/** Where the bridge of a run folder keeps shared memory that has names. No two run folders have the same. */
export const segmentsFolderOf = (run: string): string => join(MEMORY, `envmanager-${uid()}-${createHash('sha256').update(run).digest('hex').slice(0, 12)}`)

/**
 * Makes the folder for shared memory that has names. In it lies one folder for each process: a sandboxed worker writes into its own, and reads the
 * others. Throws FORBIDDEN where somebody has taken its name.
 */
export async function makeSegmentsFolder(run: string): Promise<string> {
  const folder = segmentsFolderOf(run)
  if (await lstat(folder).then(() => true, () => false)) {
    throw new BridgeError('FORBIDDEN', `${folder} is there already.`, { hint: 'Remove it, or switch the sandbox off in settings.toml.' })
  }
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
