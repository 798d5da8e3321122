import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { EnvStore } from './envStore'
import { folderSizes } from './sizes'
import type { Uv } from './uv'

export interface Leftover {
  what: string
  bytes: number
}

interface Removable extends Leftover {
  remove: () => Promise<unknown>
}

const DAY_MS = 24 * 3600 * 1000
/** A broken download may still be gone on with for so long. */
const PART_DAYS = 7

/** Wheels in our cache: what is installed does not need them, undo does not either; a repair without network does. */
async function cachedWheels(cache: string): Promise<Removable[]> {
  const folder = join(cache, 'wheels')
  const { bytes } = await folderSizes(folder)
  return bytes > 0 ? [{ what: 'downloaded wheels that a repair without network would use', bytes, remove: () => rm(folder, { recursive: true, force: true }) }] : []
}

async function oldParts(cache: string): Promise<Removable[]> {
  const folder = join(cache, 'wheels')
  const files = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  const found: Removable[] = []
  for (const entry of files.filter(({ name }) => name.endsWith('.part'))) {
    const path = join(entry.parentPath, entry.name)
    const part = await stat(path).catch(() => null)
    if (part && Date.now() - part.mtimeMs > PART_DAYS * DAY_MS) found.push({ what: `broken download ${entry.name}`, bytes: part.size, remove: () => rm(path, { force: true }) })
  }
  return found
}

/** Earlier generations: each is what undo of its env needs. */
async function generations(envs: EnvStore): Promise<Removable[]> {
  const found: Removable[] = []
  for (const record of await envs.list()) {
    if (record.previous === null) continue
    const { unique } = await folderSizes(envs.generation(record.id, record.previous))
    found.push({ what: `the earlier state of ${record.id} (undo would be gone)`, bytes: unique, remove: () => envs.forgetPrevious(record.id) })
  }
  return found
}

/** What may be deleted without losing an env, with its size; and deletes it where `remove` says so, uv's cache included. */
export async function cleanUp(envs: EnvStore, cache: string, uv: Uv, remove: boolean): Promise<Leftover[]> {
  const found = [...(await generations(envs)), ...(await oldParts(cache)), ...(await cachedWheels(cache))]
  if (remove) {
    for (const item of found) await item.remove()
    await uv.run(['cache', 'prune']).catch(() => undefined) // without uv there is nothing of it to prune
    await envs.sweep()
  }
  return found.map(({ what, bytes }) => ({ what, bytes }))
}
