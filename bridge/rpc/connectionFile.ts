import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { ConnectionFile } from '../../schemas/connection'
import { PROTOCOL_VERSION } from '../../schemas/envelope'
import { writeAtomic } from '../files'

/** 256 bits, new at each start. */
export const newToken = (): string => randomBytes(32).toString('hex')

/** Tells the process that started us where we are: a file that only this user reads, in our run folder. */
export async function writeConnectionFile(run: string, where: Pick<ConnectionFile, 'port' | 'socket' | 'segments'>, token: string): Promise<void> {
  const content: ConnectionFile = { protocol: PROTOCOL_VERSION, ...where, token, pid: process.pid, parent: process.ppid }
  await writeAtomic(join(run, 'bridge.json'), `${JSON.stringify(content)}\n`, 0o600)
}
