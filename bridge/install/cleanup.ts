import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { BridgeError } from '../errors/bridgeError'
import { sweepUnfinished } from '../files'
import { ifFree, type Waiting, withLock } from '../osLock'
import { cacheLock } from './download'
import type { EnvStore } from './envStore'
import { folderSizes } from './sizes'
import type { Uv } from './uv'

export interface Leftover {
  what: string
  bytes: number
}

interface Removable extends Leftover {
  remove: (waiting: Waiting) => Promise<unknown>
}

const DAY_MS = 24 * 3600 * 1000
/** A broken download may still be gone on with for so long. */
const PART_DAYS = 7

/** Deletes something of the cache while nobody installs out of it. */
const alone = (cache: string, work: () => Promise<void>) => (waiting: Waiting): Promise<void> => withLock(cacheLock(cache), waiting, work)

/** Wheels in our cache: what is installed does not need them, undo does not either; a repair without network does. */
async function cachedWheels(cache: string): Promise<Removable[]> {
  const folder = join(cache, 'wheels')
  const { bytes } = await folderSizes(folder)
  return bytes > 0 ? [{ what: 'downloaded wheels that a repair without network would use', bytes, remove: alone(cache, () => rm(folder, { recursive: true, force: true })) }] : []
}

async function oldParts(cache: string): Promise<Removable[]> {
  const folder = join(cache, 'wheels')
  const files = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  const found: Removable[] = []
  for (const entry of files.filter(({ name }) => name.endsWith('.part'))) {
    const path = join(entry.parentPath, entry.name)
    const part = await stat(path).catch(() => null)
    if (part && Date.now() - part.mtimeMs > PART_DAYS * DAY_MS) found.push({ what: `broken download ${entry.name}`, bytes: part.size, remove: alone(cache, () => rm(path, { force: true })) })
  }
  return found
}

/** Earlier generations: each is what undo of its env needs. */
async function generations(envs: EnvStore): Promise<Removable[]> {
  const found: Removable[] = []
  for (const record of await envs.list()) {
    if (record.previous === null) continue
    const { unique } = await folderSizes(envs.generation(record.id, record.previous))
    found.push({ what: `the earlier state of ${record.id} (undo would be gone)`, bytes: unique, remove: (waiting) => envs.forgetPrevious(record.id, waiting) })
  }
  return found
}

/** Deletes what killed processes were about to write below a home and its cache, and where jobs of older versions stood in line. */
export async function sweepHome(home: string, cache: string): Promise<void> {
  const below = await Promise.all(['envs', 'snapshots'].map(async (name) => (await readdir(join(home, name)).catch(() => [] as string[])).map((each) => join(home, name, each))))
  await Promise.all([home, join(cache, 'pages'), ...['jobs', 'run', 'classes'].map((name) => join(home, name)), ...below.flat()].map(sweepUnfinished))
  const turns = (await readdir(join(home, 'jobs')).catch(() => [] as string[])).filter((name) => name.endsWith('.turns'))
  await Promise.all(turns.map((name) => rm(join(home, 'jobs', name), { recursive: true, force: true }).catch(() => undefined)))
}

/** Deletes one thing. What is in use, and may not be waited for, stays. */
async function removeOne(item: Removable, waiting: Waiting): Promise<Leftover> {
  const { what, bytes } = item
  try {
    await item.remove(waiting)
    return { what, bytes }
  } catch (error) {
    if (!(error instanceof BridgeError && error.code === 'ENV_BUSY')) throw error
    return { what: `${what}: left, it is in use`, bytes: 0 }
  }
}

/** What may be deleted without losing an env, with its size; and deletes it where `remove` says so, uv's cache included. Throws CANCELLED. */
export async function cleanUp(envs: EnvStore, cache: string, uv: Uv, remove: boolean, waiting: Waiting): Promise<Leftover[]> {
  const found = [...(await generations(envs)), ...(await oldParts(cache)), ...(await cachedWheels(cache))]
  if (!remove) return found.map(({ what, bytes }) => ({ what, bytes }))
  const done: Leftover[] = []
  for (const item of found) done.push(await removeOne(item, waiting))
  await ifFree(cacheLock(cache), () => uv.run(['cache', 'prune'])).catch(() => undefined) // without uv there is nothing of it to prune
  await envs.sweep()
  return done
}
