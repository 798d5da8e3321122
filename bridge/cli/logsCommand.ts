import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { JobId } from '../../schemas/ids'
import { BridgeError } from '../errors/bridgeError'
import { reasonOf } from '../errors/systemError'
import { isAbsent, namesIn, refuseNoFile, refuseOdd, unreadable } from '../files'
import { readLog } from '../jobs/logFile'
import type { LogLine } from '../../schemas/job'
import { journalPath } from '../serve/journal'
import type { Output } from './output'

const MOST_ENTRIES = 1000

/** Throws FILE_UNREADABLE. */
async function whole(path: string): Promise<LogLine[]> {
  refuseNoFile(path, await stat(path).catch(() => null))
  const lines: LogLine[] = []
  for (;;) {
    const page = await readLog(path, lines.at(-1)?.seq ?? 0)
    if (page.length === 0) return lines
    lines.push(...page)
  }
}

/** An entry of the journal; nothing where a line is none, such as the half of one that a killed bridge has left. */
function entryOf(line: string): unknown[] {
  try {
    return [JSON.parse(line)]
  } catch {
    return []
  }
}

/** The whole of a log, whatever bytes are in it; an absent one is empty. Throws FILE_UNREADABLE. */
async function textOf(path: string): Promise<string> {
  try {
    refuseOdd(path, await stat(path))
    return await readFile(path, 'utf8')
  } catch (error) {
    if (isAbsent(error)) return ''
    throw error instanceof BridgeError ? error : unreadable(path, reasonOf(error), { cause: error })
  }
}

/** What the bridge did, its last entries. */
async function journal(home: string, output: Output): Promise<number> {
  const path = journalPath(home)
  const text = await textOf(path)
  const lines = text.split('\n').filter(Boolean).slice(-MOST_ENTRIES)
  output.result({ entries: lines.flatMap(entryOf) }, () => lines.join('\n') || 'The bridge has not run yet.')
  return 0
}

/** `comfy-env logs`: the jobs on disk, the lines of one, or what the bridge did. */
export async function logsCommand(job: string | undefined, home: string, output: Output): Promise<number> {
  if (job === 'bridge') return journal(home, output)
  const folder = join(home, 'jobs')
  if (job === undefined) {
    const names = await namesIn(folder)
    const jobs = names.filter((name) => name.endsWith('.ndjson')).map((name) => name.slice(0, -'.ndjson'.length)).sort()
    output.result({ jobs }, () => jobs.join('\n') || 'No jobs yet.')
    return 0
  }
  const lines = JobId.safeParse(job).success ? await whole(join(folder, `${job}.ndjson`)) : []
  if (lines.length === 0) throw new BridgeError('UNKNOWN_JOB', `There is no log of \`${job}\` in ${folder}.`)
  output.result({ job, lines }, () => lines.map(({ time, text }) => `${new Date(time).toISOString()}  ${text}`).join('\n'))
  return 0
}
