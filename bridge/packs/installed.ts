import { readdir, stat } from 'node:fs/promises'
import { normalizeName } from '../resolve/requirement'

/** Installed distributions: normalised name → version. */
export type Installed = Map<string, string>

/** The `.dist-info` folder of a distribution below site-packages; null: it is not installed there. `name` is normalised. */
export async function distInfoOf(site: string, name: string): Promise<string | null> {
  const entries = await readdir(site).catch(() => [] as string[])
  return entries.find((entry) => entry.endsWith('.dist-info') && normalizeName(entry.split('-')[0] ?? '') === name) ?? null
}

/** Reads the names of `*.dist-info` folders: nothing is run, and a broken package does not hide the others. */
export async function readInstalled(sites: readonly string[]): Promise<Installed> {
  const found: Installed = new Map()
  for (const site of sites) {
    for (const entry of await readdir(site).catch(() => [] as string[])) {
      const match = /^(.+?)-([^-]+)\.dist-info$/.exec(entry)
      if (!match?.[1] || !match[2]) continue
      const name = normalizeName(match[1])
      if (!found.has(name)) found.set(name, match[2])
    }
  }
  return found
}

/** Tells what is installed from what was before, without reading it: each install and each removal changes the folder itself. */
export async function installedVersion(sites: readonly string[]): Promise<string> {
  const times = sites.map((site) => stat(site, { bigint: true }).then(({ mtimeNs }) => String(mtimeNs), () => 'none'))
  return (await Promise.all(times)).join(' ')
}
