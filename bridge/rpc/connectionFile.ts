import { randomBytes } from 'node:crypto'
import { chmod, mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ConnectionFile } from '../../schemas/connection'
import { PROTOCOL_VERSION } from '../../schemas/envelope'
import { BridgeError } from '../errors/bridgeError'
import { isUnwritable, readCached, writeAtomic } from '../files'
import { lockIn, takeLock } from '../osLock'

const pathIn = (run: string): string => join(run, 'bridge.json')

/** 256 bits, new at each start. */
export const newToken = (): string => randomBytes(32).toString('hex')

/** A bridge of the ComfyUI before needs a moment to end. */
const PATIENCE_MS = 2000

/**
 * The right to serve a home: one bridge at a time has it, for as long as its process lives. The answer gives it back. Where nothing can be written there is
 * nothing to claim. Throws ALREADY_RUNNING.
 */
export async function claimHome(home: string, run: string): Promise<() => void> {
  const patience = AbortSignal.timeout(PATIENCE_MS)
  try {
    return await takeLock(lockIn(home, 'bridge'), { signal: patience })
  } catch (error) {
    if (isUnwritable(error)) return () => undefined
    if (!(error instanceof BridgeError && error.code === 'CANCELLED')) throw error
    const pid = (await readCached(pathIn(run), ConnectionFile))?.pid
    throw new BridgeError('ALREADY_RUNNING', `A bridge${pid === undefined ? '' : ` (process ${pid})`} already serves ${home}.`, { ...(pid !== undefined && { details: { pid } }) })
  }
}

/** A folder that only this user enters, without what a killed bridge and its workers have left. */
export async function makeRunFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await chmod(folder, 0o700)
  const left = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.sock'))
  await Promise.all(left.map((name) => rm(join(folder, name), { force: true })))
  await rm(pathIn(folder), { recursive: true, force: true }) // of a bridge that was killed, or damaged
}

/** The longest path of a Unix socket that every system takes (`sun_path`). */
const LONGEST_SOCKET = 100

/** Where a socket of that name may lie; null where there are none, or the path would be too long: then a port does. */
export function socketPath(folder: string, name: string): string | null {
  const path = join(folder, name)
  return process.platform === 'win32' || Buffer.byteLength(path) > LONGEST_SOCKET ? null : path
}

/** Tells the shim where we are: a file that only this user reads, in that folder. */
export async function writeConnectionFile(run: string, where: Pick<ConnectionFile, 'port' | 'socket' | 'segments'>, token: string): Promise<void> {
  const content: ConnectionFile = { protocol: PROTOCOL_VERSION, ...where, token, pid: process.pid }
  await writeAtomic(pathIn(run), `${JSON.stringify(content)}\n`, 0o600)
}

export const removeConnectionFile = (run: string): Promise<void> => rm(pathIn(run), { force: true })
