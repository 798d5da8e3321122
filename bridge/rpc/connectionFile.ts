import { randomBytes } from 'node:crypto'
import { chmod, mkdir, readdir, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { ConnectionFile } from '../../schemas/connection'
import { PROTOCOL_VERSION } from '../../schemas/envelope'
import { BridgeError } from '../errors/bridgeError'
import { readJson, writeAtomic } from '../files'

const pathIn = (home: string): string => join(home, 'run', 'bridge.json')

/** 256 bits, new at each start. */
export const newToken = (): string => randomBytes(32).toString('hex')

/** Whether something listens there. The process id alone proves nothing: it may belong to another program by now. */
function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' })
    const settle = (found: boolean): void => {
      socket.destroy()
      resolve(found)
    }
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
  })
}

/** A bridge of the ComfyUI before needs a moment to end. */
const TRIES = 20
const TRY_EVERY_MS = 100

/** Refuses to start beside a bridge that uses the same home. */
export async function refuseSecondBridge(home: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    const other = await readJson(pathIn(home), ConnectionFile)
    if (!other || other.pid === process.pid || !(await listens(other.port))) return
    if (tries < TRIES) {
      await setTimeout(TRY_EVERY_MS)
      continue
    }
    throw new BridgeError('ALREADY_RUNNING', `A bridge (process ${other.pid}) already serves ${home}.`, { details: { pid: other.pid } })
  }
}

/** A folder that only this user enters, without the sockets that a killed bridge and its workers have left. */
export async function makeRunFolder(home: string): Promise<string> {
  const folder = join(home, 'run')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await chmod(folder, 0o700)
  const left = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.sock'))
  await Promise.all(left.map((name) => rm(join(folder, name), { force: true })))
  return folder
}

/** The longest path of a Unix socket that every system takes (`sun_path`). */
const LONGEST_SOCKET = 100

/** Where a socket of that name may lie; null where there are none, or the path would be too long: then a port does. */
export function socketPath(folder: string, name: string): string | null {
  const path = join(folder, name)
  return process.platform === 'win32' || Buffer.byteLength(path) > LONGEST_SOCKET ? null : path
}

/** Tells the shim where we are: a file that only this user reads, in that folder. */
export async function writeConnectionFile(home: string, where: Pick<ConnectionFile, 'port' | 'socket' | 'segments'>, token: string): Promise<void> {
  const content: ConnectionFile = { protocol: PROTOCOL_VERSION, ...where, token, pid: process.pid }
  await writeAtomic(pathIn(home), `${JSON.stringify(content)}\n`, 0o600)
}

export const removeConnectionFile = (home: string): Promise<void> => rm(pathIn(home), { force: true })
