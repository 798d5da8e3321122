import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'

export interface Sizes {
  /** Bytes of all files, each counted once. */
  bytes: number
  /** Bytes that deleting the folder would free: uv links its files from its cache, and those stay there. */
  unique: number
}

/** Sizes of what lies below a folder; an absent one has none. */
export async function folderSizes(folder: string): Promise<Sizes> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const seen = new Map<string, { size: number; links: number; here: number }>()
  await Promise.all(
    files.map(async (file) => {
      const found = await lstat(file).catch(() => null)
      if (!found) return
      const key = `${found.dev}:${found.ino}`
      const known = seen.get(key) ?? { size: found.size, links: found.nlink, here: 0 }
      seen.set(key, { ...known, here: known.here + 1 })
    }),
  )
  const sum = (sizes: { size: number }[]): number => sizes.reduce((total, { size }) => total + size, 0)
  const all = [...seen.values()]
  return { bytes: sum(all), unique: sum(all.filter(({ links, here }) => here >= links)) }
}
