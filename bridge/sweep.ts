import { lstat, realpath, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { z } from 'zod'
import { EnvId, JobId } from '../schemas/ids'
import { isOlder, namesIn, readText, sweepUnfinished } from './files'
import { isOurLog } from './homeProof'
import { isOurCache } from './install/cache'
import { isOurEnv } from './install/envFolders'
import { isFolder, isMarked, removeMarked } from './mark'

const DAY_MS = 24 * 3600 * 1000
/** So many logs of jobs stay, and all that are younger than so many days. */
const KEPT_LOGS = 200
const LOG_DAYS = 30

const below = async (folder: string): Promise<string[]> => (isFolder(folder) ? (await namesIn(folder)).map((name) => join(folder, name)) : [])

/** Folders of envs and snapshots in which we write. */
async function marked(home: string): Promise<string[]> {
  const envs = await below(join(home, 'envs'))
  const areOurs = await Promise.all(envs.map((folder) => isOurEnv(folder, basename(folder))))
  const snapshots = (await below(join(home, 'snapshots'))).filter((folder) => isMarked(folder, 'snapshot', basename(folder)))
  return [...envs.filter((_, at) => areOurs[at]), ...snapshots]
}

/** Where jobs of older versions stood in line: a folder of tickets, one empty file for each. */
async function sweepTurns(folder: string): Promise<void> {
  const id = /([^/\\]+)\.turns$/.exec(folder)?.[1]
  if (id === undefined || !EnvId.safeParse(id).success || !isFolder(folder) || !(await isOlder(folder, DAY_MS))) return
  if ((await namesIn(folder)).every((name) => /^\d+-\d+-\d+-[0-9a-f]+$/.test(name))) await rm(folder, { recursive: true, force: true })
}

const Queued = z.object({ jobs: z.array(z.object({ id: z.string() })) })

/** Ids of jobs that wait or run. Throws where that is not known. */
async function queued(home: string): Promise<Set<string>> {
  const text = await readText(join(home, 'jobs', 'queue.json'))
  return new Set(text === null ? [] : Queued.parse(JSON.parse(text)).jobs.map(({ id }) => id))
}

/** Deletes the logs of jobs that are long over. That of a job which runs is never so old. */
async function sweepLogs(home: string): Promise<void> {
  const busy = await queued(home)
  const logs = (await below(join(home, 'jobs'))).filter((path) => JobId.safeParse(/([^/\\]+)\.ndjson(?:\.1)?$/.exec(path)?.[1]).success)
  const found = await Promise.all(logs.map(async (path) => ({ path, entry: await lstat(path) })))
  const newestFirst = found.filter(({ entry }) => entry.isFile()).sort((a, b) => b.entry.mtimeMs - a.entry.mtimeMs)
  for (const { path } of newestFirst.slice(KEPT_LOGS)) {
    const isBusy = [...busy].some((id) => path.includes(`${id}.ndjson`))
    if (!isBusy && (await isOlder(path, LOG_DAYS * DAY_MS)) && isOurLog(path)) await rm(path, { force: true })
  }
}

/** Deletes what killed planning has left. */
async function sweepPlan(folder: string): Promise<void> {
  if (isMarked(folder, 'plan') && (await isOlder(folder, DAY_MS))) await removeMarked(folder)
}

/**
 * Deletes what killed processes and older versions have left in a home and a cache with our mark: files that were about to be written, plans, places in line,
 * logs of old jobs. Never throws, and leaves what is not provably ours.
 */
export async function sweepHome(home: string, cache: string): Promise<void> {
  const root = await realpath(home).catch(() => home)
  const quietly = (work: Promise<unknown>): Promise<unknown> => work.catch(() => undefined)
  if (isMarked(root, 'home')) {
    const folders = [root, ...['jobs', 'run', 'classes'].map((name) => join(root, name)), ...(await marked(root).catch(() => []))]
    await Promise.all(folders.filter(isFolder).map(sweepUnfinished))
    for (const path of await below(join(root, 'jobs')).catch(() => [])) await quietly(sweepTurns(path))
    for (const path of await below(root).catch(() => [])) await quietly(sweepPlan(path))
    await quietly(sweepLogs(root))
  }
  const kept = await realpath(cache).catch(() => cache)
  if (isOurCache(kept) && isFolder(join(kept, 'pages'))) await sweepUnfinished(join(kept, 'pages'))
}
