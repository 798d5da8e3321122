import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { BridgeError } from '../errors/bridgeError'
import { errnoOf } from '../files'

/** Marks the processes of one change, and what these start. */
export const CHANGE_MARK = 'COMFY_ENV_CHANGE'

/** Processes that carry a change's mark. Linux alone tells it; on Windows they end with the process that started them. */
async function marked(id: string): Promise<number[]> {
  if (process.platform !== 'linux') return []
  const mark = `${CHANGE_MARK}=${id}`
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

/**
 * Ends what a killed process of ours has left running of a change: uv would write on while the change is undone. For who holds `hostLock`. Throws ENV_BUSY
 * where it does not end.
 */
export async function endLeftOver(id: string): Promise<void> {
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const pids = await marked(id)
    if (pids.length === 0) return
    pids.forEach(end)
    await delay(RETRY_MS)
  }
  throw new BridgeError('ENV_BUSY', 'The uv of a killed install still runs, and does not end.', { hint: 'It is undone once that process is gone.' })
}
