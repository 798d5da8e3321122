import type { BigIntStats } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { errnoOf } from '../files'

/** Files that may say what a pack needs, or are named by one that does (`config.ts`). */
const SAYS_NEEDS = /\.(toml|txt)$/i

async function fileVersion(path: string): Promise<string> {
  const told = ({ size, mtimeNs, ino }: BigIntStats): string => `${size} ${mtimeNs} ${ino}`
  return stat(path, { bigint: true }).then(told, (error: unknown) => String(errnoOf(error)))
}

/** What is in a folder; none where it cannot be read: that is found when the pack is. */
const entriesOf = (dir: string) => readdir(dir, { withFileTypes: true }).catch(() => [])

/** comfy-env's own files, one folder below `nodes` at most. */
async function belowNodes(dir: string): Promise<string[]> {
  const entries = await entriesOf(join(dir, 'nodes'))
  const below = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join('nodes', name, 'comfy-env.toml'))
  return [join('nodes', 'comfy-env.toml'), ...below]
}

/** Tells what a pack says that it needs from what it said before, without reading any of it. Files that packs write beside these (settings, logs) do not count. */
export async function needsVersion(dir: string): Promise<string> {
  const entries = await entriesOf(dir)
  const files = entries.filter(({ name }) => SAYS_NEEDS.test(name)).map(({ name }) => name)
  const nodes = entries.some(({ name }) => name === 'nodes') ? await belowNodes(dir) : []
  const versions = await Promise.all([...files, ...nodes].sort().map(async (name) => `${name} ${await fileVersion(join(dir, name))}`))
  return versions.join('\n')
}
