import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { JobId } from '../../schemas/ids'
import { BridgeError } from '../errors/bridgeError'
import { readLog } from '../jobs/logFile'
import type { LogLine } from '../../schemas/job'
import type { Output } from './output'

async function whole(path: string): Promise<LogLine[]> {
  const lines: LogLine[] = []
  for (;;) {
    const page = await readLog(path, lines.at(-1)?.seq ?? 0)
    if (page.length === 0) return lines
    lines.push(...page)
  }
}

/** `comfy-env logs`: the jobs on disk, or the lines of one. */
export async function logsCommand(job: string | undefined, home: string, output: Output): Promise<number> {
  const folder = join(home, 'jobs')
  if (job === undefined) {
    const names = await readdir(folder).catch(() => [] as string[])
    const jobs = names.filter((name) => name.endsWith('.ndjson')).map((name) => name.slice(0, -'.ndjson'.length)).sort()
    output.result({ jobs }, () => jobs.join('\n') || 'No jobs yet.')
    return 0
  }
  const lines = JobId.safeParse(job).success ? await whole(join(folder, `${job}.ndjson`)) : []
  if (lines.length === 0) throw new BridgeError('UNKNOWN_JOB', `There is no log of \`${job}\` in ${folder}.`)
  output.result({ job, lines }, () => lines.map(({ time, text }) => `${new Date(time).toISOString()}  ${text}`).join('\n'))
  return 0
}
