import { rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { namesIn } from '../files'
import { isServing, type RunFolder } from '../runFolder'

/** What a worker of this bridge prints. Another bridge of the home may have a worker of the same name. */
export const workerLog = (home: string, { name }: Pick<RunFolder, 'name'>, worker: string): string => join(home, 'logs', `${worker.replace('#', '-')}.${name}.ndjson`)

/** Logs of workers that have ended are kept for so long. */
const KEPT_DAYS = 7
const DAY_MS = 24 * 3600 * 1000

/** Deletes the old logs of bridges that have ended. Never throws: what cannot be deleted is left for the next start. */
export async function sweepWorkerLogs(home: string): Promise<void> {
  const folder = join(home, 'logs')
  for (const name of await namesIn(folder).catch(() => [] as string[])) {
    const [, bridge] = /\.([0-9a-f]{12})\.ndjson(?:\.1)?$/.exec(name) ?? []
    const found = bridge === undefined ? null : await stat(join(folder, name)).catch(() => null)
    if (!found || bridge === undefined || Date.now() - found.mtimeMs < KEPT_DAYS * DAY_MS || (await isServing(home, bridge).catch(() => true))) continue
    await rm(join(folder, name), { force: true }).catch(() => undefined)
  }
}
