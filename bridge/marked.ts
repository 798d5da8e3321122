import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { errnoOf } from './files'

/** Processes whose environment has this variable: one that we have started, and what that has started, wherever it has gone. Linux alone tells it. */
async function marked(variable: string, value: string): Promise<number[]> {
  if (process.platform !== 'linux') return []
  const mark = `${variable}=${value}`
  const pids = (await readdir('/proc')).map(Number).filter((pid) => pid > 0 && pid !== process.pid)
  const carries = (pid: number): Promise<boolean> => readFile(`/proc/${pid}/environ`, 'utf8').then((text) => text.split('\0').includes(mark), () => false)
  const found = await Promise.all(pids.map(carries))
  return pids.filter((_, at) => found[at])
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error
  }
}

const RETRY_MS = 20
const MOST_TRIES = 500

/** Ends them; false where one does not end. */
export async function endMarked(variable: string, value: string): Promise<boolean> {
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const pids = await marked(variable, value)
    if (pids.length === 0) return true
    pids.forEach(end)
    await delay(RETRY_MS)
  }
  return false
}
