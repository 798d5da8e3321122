import { closeSync, lstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { StateFile } from '../schemas/connection'
import { EnvRecord } from '../schemas/env'
import { LogLine } from '../schemas/job'
import { bytesNow, refuseNoFile } from './files'
import { isFolder } from './mark'
import { parseKnown } from './stateFile'

// What shows that an earlier version, which marked nothing, has made a folder: files that only we write.

const names = (folder: string): string[] => {
  try {
    return isFolder(folder) ? readdirSync(folder) : []
  } catch {
    return []
  }
}

function parses(read: () => string, schema: z.ZodType<unknown, unknown>): boolean {
  try {
    parseKnown(schema, JSON.parse(read()))
    return true
  } catch {
    return false
  }
}

const holds = (path: string, schema: z.ZodType<unknown, unknown>): boolean => parses(() => bytesNow(path).toString(), schema)

const FIRST_LINE = 65_536

function firstLine(path: string): string {
  refuseNoFile(path, statSync(path))
  const file = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(FIRST_LINE)
    return bytes.toString('utf8', 0, readSync(file, bytes, 0, FIRST_LINE, 0)).split('\n', 1)[0] ?? ''
  } finally {
    closeSync(file)
  }
}

const Entry = z.looseObject({ time: z.iso.datetime(), event: z.string() })
const Queue = z.looseObject({ schema: z.number(), jobs: z.array(z.looseObject({ id: z.string(), request: z.looseObject({ action: z.string() }) })) })
const Connection = z.looseObject({ protocol: z.number(), port: z.number(), token: z.string().regex(/^[0-9a-f]{64}$/), pid: z.number() })
const Page = z.looseObject({ url: z.string(), contentType: z.string(), text: z.string(), next: z.string().nullable() })

/** Whether a file of lines begins as one of ours: a job's or worker's log, or the bridge's journal. */
export const isOurLog = (path: string): boolean => parses(() => firstLine(path), z.union([LogLine, Entry]))

/** Locks are empty files of one kind of name. */
function hasLocks(folder: string): boolean {
  const all = names(join(folder, 'locks'))
  const isLock = (name: string): boolean => {
    const found = lstatSync(join(folder, 'locks', name), { throwIfNoEntry: false })
    return name.endsWith('.lock') && found?.isFile() === true && found.size === 0
  }
  return all.length > 0 && all.every(isLock)
}

function hasEnv(home: string): boolean {
  const isOf = (id: string, path: string): boolean => holds(path, EnvRecord.extend({ id: z.literal(id) }))
  return names(join(home, 'envs')).some((id) => {
    const folder = join(home, 'envs', id)
    return isOf(id, join(folder, 'env.json')) || names(folder).some((name) => isOf(id, join(folder, name, 'envmanager.json')))
  })
}

const hasSnapshot = (home: string): boolean =>
  names(join(home, 'snapshots')).some((id) => holds(join(home, 'snapshots', id, 'snapshot.json'), z.looseObject({ schema: z.number(), id: z.literal(id), site: z.string(), kept: z.array(z.unknown()) })))

/** What ComfyUI's side wrote of a bridge that never came up: nothing else is there. */
function hasOnlyOurRun(home: string): boolean {
  const all = names(join(home, 'run'))
  return all.includes('bridge.log') && all.every((name) => name === 'bridge.log' || name.startsWith('classes.') || /^[0-9a-f]{12}$/.test(name))
}

/** Whether a record of ours is in what may be a cache of an earlier version. */
export function isProvenCache(cache: string): boolean {
  return hasLocks(cache) || names(join(cache, 'pages')).some((name) => /^[0-9a-f]{64}\.json$/.test(name) && holds(join(cache, 'pages', name), Page))
}

/** Whether a record of ours is in what may be a home of an earlier version. */
export function isProvenHome(home: string): boolean {
  const hasLog = (folder: string): boolean => names(join(home, folder)).some((name) => name.endsWith('.ndjson') && isOurLog(join(home, folder, name)))
  return (
    holds(join(home, 'state.json'), StateFile) ||
    holds(join(home, 'jobs', 'queue.json'), Queue) ||
    holds(join(home, 'run', 'bridge.json'), Connection) ||
    hasLocks(home) || hasLog('logs') || hasLog('jobs') || hasEnv(home) || hasSnapshot(home) || hasOnlyOurRun(home) || isProvenCache(join(home, 'cache'))
  ) // prettier-ignore
}
