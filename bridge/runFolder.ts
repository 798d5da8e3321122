import { createHash, randomBytes } from 'node:crypto'
import { access, chmod, lstat, mkdir, rm, rmdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { BridgeError } from './errors/bridgeError'
import { isUnwritable, namesIn, unwritable, whyUnwritable } from './files'
import { ifFree, lockIn, takeLock, withLock } from './osLock'
import { segmentsFolderOf } from './workers/segmentsFolder'

/** What one bridge needs while it runs, in a folder of its own: several bridges may serve one home. */
export interface RunFolder {
  /** Never repeats: whoever knows a bridge by it, knows no other by it. */
  name: string
  path: string
  /** Removes it. */
  leave: () => Promise<void>
}

const NAME = /^[0-9a-f]{12}$/

/** Where run folders lie, and the lock of who makes or removes one there. */
interface Root {
  folder: string
  lock: string
}

const inHome = (home: string): Root => ({ folder: join(home, 'run'), lock: lockIn(home, 'run') })

/** Where they lie if nothing can be written in the home: a folder of this user and home in one of the system's. */
function elsewhere(home: string): Root[] {
  const name = `envmanager-run-${process.getuid?.() ?? 0}-${createHash('sha256').update(home).digest('hex').slice(0, 12)}`
  const places = [process.env.XDG_RUNTIME_DIR, tmpdir(), ...(process.platform === 'linux' ? ['/dev/shm'] : [])]
  return places.flatMap((place) => (place ? [{ folder: join(place, name), lock: join(place, name, 'run.lock') }] : []))
}

/** Held by the bridge for as long as it lives: the kernel's word on whether it does. */
const aliveIn = (folder: string): string => join(folder, 'alive.lock')
const isThere = (path: string): Promise<boolean> => access(path).then(() => true, () => false)

/** Whether the bridge that has a run folder of that name lives. */
export async function isServing(home: string, name: string): Promise<boolean> {
  for (const root of [inHome(home), ...elsewhere(home)]) {
    const folder = join(root.folder, name)
    if (NAME.test(name) && (await isThere(aliveIn(folder))) && (await ifFree(aliveIn(folder), async () => true)) === null) return true
  }
  return false
}

/** Removes what bridges have left that have ended without it. For who holds the root's lock: nobody is about to take one of these. */
async function sweep(root: string): Promise<void> {
  for (const name of (await namesIn(root)).filter((each) => NAME.test(each))) {
    const folder = join(root, name)
    if (!(await isThere(aliveIn(folder)))) await rmdir(folder).catch(() => undefined) // its bridge was killed at once, or it is not a bridge's
    else if (await ifFree(aliveIn(folder), async () => true).catch(() => null)) await remove(folder).catch(() => undefined) // the next bridge tries again
  }
}

async function remove(folder: string): Promise<void> {
  await rm(segmentsFolderOf(folder), { recursive: true, force: true })
  await rm(folder, { recursive: true, force: true })
}

/** A folder that is this user's alone. Throws FILE_UNWRITABLE or DISK_FULL, also where somebody else has it. */
async function makePrivate(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const found = await lstat(folder)
    if (!found.isDirectory() || (process.getuid && found.uid !== process.getuid())) throw new Error('it is a link, or belongs to somebody else')
    await chmod(folder, 0o700)
  } catch (error) {
    throw unwritable(folder, error)
  }
}

async function makeIn({ folder, lock }: Root): Promise<RunFolder> {
  await makePrivate(folder)
  return withLock(lock, {}, async () => {
    await sweep(folder)
    const name = randomBytes(6).toString('hex')
    const path = join(folder, name)
    await makePrivate(path)
    const giveBack = await takeLock(aliveIn(path))
    const leave = async (): Promise<void> => {
      giveBack()
      await withLock(lock, {}, () => remove(path))
    }
    const why = await whyUnwritable(path) // a full disk has room for folders and locks
    if (why === null) return { name, path, leave }
    giveBack()
    await remove(path)
    throw new BridgeError('FILE_UNWRITABLE', why)
  })
}

/**
 * Makes a run folder, which only this user enters, and removes those of bridges that have ended. In the home; where nothing can be written there, in a folder
 * of the system. Throws what keeps it from being made anywhere.
 */
export async function takeRunFolder(home: string): Promise<RunFolder> {
  const [first, ...others] = [inHome(home), ...elsewhere(home)] as [Root, ...Root[]]
  return makeIn(first).catch(async (error: unknown) => {
    if (!isUnwritable(error)) throw error
    for (const root of others) {
      const made = await makeIn(root).catch(() => null)
      if (made) return made
    }
    throw error
  })
}

/** The longest path of a Unix socket that every system takes (`sun_path`). */
const LONGEST_SOCKET = 100

/** Where a socket of that name may lie; null where there are none, or the path would be too long: then a port does. */
export function socketPath(folder: string, name: string): string | null {
  const path = join(folder, name)
  return process.platform === 'win32' || Buffer.byteLength(path) > LONGEST_SOCKET ? null : path
}
