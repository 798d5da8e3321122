import { lstat, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { BridgeError, toWire } from '../errors/bridgeError'
import { isOlder, namesIn } from '../files'
import { isFolder, removeMarked } from '../mark'
import { ifFree, type Waiting, withLock } from '../osLock'
import { isOurCache, ourWheels } from './cache'
import { cacheLock } from './download'
import type { EnvStore } from './envStore'
import { folderSizes } from './sizes'
import type { Uv } from './uv'

export interface Leftover {
  what: string
  bytes: number
}

interface Removable extends Leftover {
  /** What must not be changed meanwhile. */
  of: string
  remove: (waiting: Waiting) => Promise<unknown>
}

const DAY_MS = 24 * 3600 * 1000
/** A broken download may still be gone on with for so long. */
const PART_DAYS = 7

/** How to wait while another changes what is to be deleted: an env, or `DOWNLOADS`. */
type WaitingFor = (of: string) => Waiting

const DOWNLOADS = 'the downloaded wheels'

/** Deletes something of the cache while nobody installs out of it. */
const alone = (cache: string, work: () => Promise<void>) => (waiting: Waiting): Promise<void> => withLock(cacheLock(cache), waiting, work)

/** What we have downloaded: what is installed does not need it, undo does not either; a repair without network does. */
async function cachedWheels(cache: string): Promise<Removable[]> {
  const folders = await ourWheels(cache)
  const sizes = await Promise.all(folders.map((folder) => folderSizes(folder)))
  const bytes = sizes.reduce((sum, size) => sum + size.bytes, 0)
  const remove = async (): Promise<void> => {
    const failures: unknown[] = []
    for (const folder of folders) await removeMarked(folder).catch((error: unknown) => failures.push(error))
    if (failures.length > 0) throw failures[0]
  }
  return bytes > 0 ? [{ what: 'downloaded wheels that a repair without network would use', bytes, of: DOWNLOADS, remove: alone(cache, remove) }] : []
}

async function oldParts(cache: string): Promise<Removable[]> {
  const found: Removable[] = []
  for (const folder of await ourWheels(cache)) {
    for (const name of (await namesIn(folder)).filter((each) => each.endsWith('.part'))) {
      const path = join(folder, name)
      const part = await lstat(path).catch(() => null)
      if (part && (await isOlder(path, PART_DAYS * DAY_MS))) found.push({ what: `broken download ${name}`, bytes: part.size, of: DOWNLOADS, remove: alone(cache, () => rm(path, { force: true })) })
    }
  }
  return found
}

/** What uv itself has at the top of its cache. */
const OF_UV = /^(CACHEDIR\.TAG|\.gitignore|\.git|\.lock|[a-z-]+-v\d+)$/

/** Lets uv delete what it does not need. It takes everything in its folder for its own. */
async function pruneUv(cache: string, uv: Uv): Promise<void> {
  const folder = join(cache, 'uv')
  if (!isOurCache(cache) || !isFolder(folder) || !(await namesIn(folder)).every((name) => OF_UV.test(name))) return
  await ifFree(cacheLock(cache), () => uv.run(['cache', 'prune']))
}

/** Earlier generations: each is what undo of its env needs. */
async function generations(envs: EnvStore): Promise<Removable[]> {
  const found: Removable[] = []
  for (const record of await envs.list()) {
    if (record.previous === null) continue
    const { unique } = await folderSizes(envs.generation(record.id, record.previous))
    found.push({ what: `the earlier state of ${record.id} (undo would be gone)`, bytes: unique, of: record.id, remove: (waiting) => envs.forgetPrevious(record.id, waiting) })
  }
  return found
}

/** What could not be deleted, and why. */
interface Failure {
  what: string
  error: unknown
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`

/** How far a deletion has come. */
interface Progress {
  done: Leftover[]
  /** What is in use, and may not be waited for. */
  inUse: Leftover[]
  failures: Failure[]
  /** What is still there. */
  left: Removable[]
}

const deletedIn = (done: Leftover[]): string => done.map(({ what, bytes }) => `${what} (${megabytes(bytes)})`).join(', ') || 'nothing'

/** Some of it is deleted and some is not: the first failure's code, with a sentence of each. */
function partly(done: Leftover[], failures: [Failure, ...Failure[]]): BridgeError {
  const failed = failures.map(({ what, error }) => ({ what, reason: toWire(error).message }))
  const reasons = failed.map(({ what, reason }) => `${what}: ${reason}`).join(' ')
  return new BridgeError(toWire(failures[0].error).code, `Could not be deleted: ${reasons} Deleted: ${deletedIn(done)}.`, {
    hint: 'Remove the cause, then free space again.',
    details: { deleted: done, failed },
    cause: failures[0].error,
  })
}

/** A cancel, with what it came too late for. */
function cancelled({ done, left }: Progress, cause: unknown): unknown {
  if (done.length === 0) return cause
  const names = left.map(({ what }) => what)
  return new BridgeError('CANCELLED', `Cancelled. Deleted before: ${deletedIn(done)}. Left: ${names.join(', ')}.`, {
    hint: 'What was deleted stays so. The rest can be freed another time.',
    details: { deleted: done, left: names },
    cause,
  })
}

/** Deletes things one by one; one that cannot be deleted does not keep the next ones. Throws CANCELLED. */
async function removeAll(items: Removable[], waitingFor: WaitingFor, progress: Progress): Promise<void> {
  for (const item of items) {
    const { what, bytes } = item
    try {
      await item.remove(waitingFor(item.of))
      progress.done.push({ what, bytes })
      progress.left.splice(progress.left.indexOf(item), 1)
    } catch (error) {
      const { code } = toWire(error)
      if (code === 'CANCELLED') throw cancelled(progress, error)
      if (code === 'ENV_BUSY') progress.inUse.push({ what: `${what}: left, it is in use`, bytes: 0 })
      else progress.failures.push({ what, error })
    }
  }
}

/**
 * What of ours may be deleted without losing an env, with its size; and deletes it where `remove` says so, uv's cache included. Earlier generations go last: to
 * forget one is to write, and a full disk has space for that when the rest is gone. Throws CANCELLED, or why something could not be deleted, once everything else is.
 */
export async function cleanUp(envs: EnvStore, cache: string, uv: Uv, remove: boolean, waitingFor: WaitingFor): Promise<Leftover[]> {
  const unwritten = [...(await oldParts(cache)), ...(await cachedWheels(cache))]
  const earlier = await generations(envs)
  if (!remove) return [...unwritten, ...earlier].map(({ what, bytes }) => ({ what, bytes }))
  const progress: Progress = { done: [], inUse: [], failures: [], left: [...unwritten, ...earlier] }
  await removeAll(unwritten, waitingFor, progress)
  await pruneUv(cache, uv).catch(() => undefined) // without uv there is nothing of it to prune
  await envs.sweep()
  await removeAll(earlier, waitingFor, progress)
  const [first, ...others] = progress.failures
  if (first) throw partly(progress.done, [first, ...others])
  return [...progress.done, ...progress.inUse]
}
