import { randomBytes } from 'node:crypto'
import { access, chmod, mkdir, mkdtemp, rm, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BridgeError } from '../errors/bridgeError'
import { errnoOf, namesIn, unwritable } from '../files'
import { ifFree, lockIn, takeLock, withLock } from '../osLock'
import { segmentsFolderOf } from '../workers/segmentsFolder'

/** What one bridge needs while it runs, in a folder of its own: several bridges may serve one home. */
export interface RunFolder {
  /** Never repeats: whoever knows a bridge by it, knows no other by it. */
  name: string
  path: string
  /** Removes it. */
  leave: () => Promise<void>
}

const NAME = /^[0-9a-f]{12}$/
const folderIn = (home: string): string => join(home, 'run')
/** Held by the bridge for as long as it lives: the kernel's word on whether it does. */
const aliveIn = (folder: string): string => join(folder, 'alive.lock')
const isThere = (path: string): Promise<boolean> => access(path).then(() => true, () => false)

/** Whether the bridge that has a run folder of that name lives. */
export async function isServing(home: string, name: string): Promise<boolean> {
  const folder = join(folderIn(home), name)
  return NAME.test(name) && (await isThere(aliveIn(folder))) && (await ifFree(aliveIn(folder), async () => true)) === null
}

/** Removes what bridges have left that have ended without it. For who holds the lock `run`: nobody is about to take one of these. */
async function sweep(home: string): Promise<void> {
  for (const name of (await namesIn(folderIn(home))).filter((each) => NAME.test(each))) {
    const folder = join(folderIn(home), name)
    if (!(await isThere(aliveIn(folder)))) await rmdir(folder).catch(() => undefined) // its bridge was killed at once, or it is not a bridge's
    else if (await ifFree(aliveIn(folder), async () => true).catch(() => null)) await remove(folder).catch(() => undefined) // the next bridge tries again
  }
}

async function remove(folder: string): Promise<void> {
  await rm(segmentsFolderOf(folder), { recursive: true, force: true })
  await rm(folder, { recursive: true, force: true })
}

async function makeIn(home: string): Promise<RunFolder> {
  await mkdir(folderIn(home), { recursive: true, mode: 0o700 }).catch((error: unknown) => Promise.reject(unwritable(folderIn(home), error)))
  await chmod(folderIn(home), 0o700).catch((error: unknown) => Promise.reject(unwritable(folderIn(home), error)))
  return withLock(lockIn(home, 'run'), {}, async () => {
    await sweep(home)
    const name = randomBytes(6).toString('hex')
    const path = join(folderIn(home), name)
    await mkdir(path, { mode: 0o700 }).catch((error: unknown) => Promise.reject(unwritable(path, error)))
    const giveBack = await takeLock(aliveIn(path))
    const leave = async (): Promise<void> => {
      giveBack()
      await withLock(lockIn(home, 'run'), {}, () => remove(path))
    }
    return { name, path, leave }
  })
}

/** Where nothing can be written in the home, a bridge runs all the same. */
async function makeElsewhere(): Promise<RunFolder> {
  const path = await mkdtemp(join(tmpdir(), 'envmanager-run-'))
  return { name: randomBytes(6).toString('hex'), path, leave: () => remove(path) }
}

/** Makes a run folder, which only this user enters, and removes those of bridges that have ended. Throws what keeps it from being made anywhere. */
export async function takeRunFolder(home: string): Promise<RunFolder> {
  return makeIn(home).catch((error: unknown) => {
    const isHome = error instanceof BridgeError && (error.code === 'FILE_UNWRITABLE' || error.code === 'DISK_FULL')
    return isHome || errnoOf(error) === 'EROFS' ? makeElsewhere() : Promise.reject(error)
  })
}

/** The longest path of a Unix socket that every system takes (`sun_path`). */
const LONGEST_SOCKET = 100

/** Where a socket of that name may lie; null where there are none, or the path would be too long: then a port does. */
export function socketPath(folder: string, name: string): string | null {
  const path = join(folder, name)
  return process.platform === 'win32' || Buffer.byteLength(path) > LONGEST_SOCKET ? null : path
}
