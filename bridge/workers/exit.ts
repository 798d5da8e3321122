import { readFileSync } from 'node:fs'
import type { WorkerExit } from '../../schemas/worker'
import { BridgeError } from '../errors/bridgeError'

/** How a process ended, as the end of a sentence. */
export const describeExit = ({ code, signal }: Omit<WorkerExit, 'lines'>): string =>
  signal ? `was ended by ${signal}` : code === null ? 'could not be started' : `ended with exit code ${code}`

/** How many processes this system has ended because it had no memory left, since it started; null where it does not tell (Linux, `/proc/vmstat`). */
export function oomKills(): number | null {
  try {
    return Number(/^oom_kill (\d+)$/m.exec(readFileSync('/proc/vmstat', 'utf8'))?.[1] ?? Number.NaN)
  } catch {
    return null
  }
}

/** What is known beyond the exit itself. */
function hintFor({ lines, signal }: WorkerExit, wasReady: boolean, oomBefore: number | null): string | undefined {
  const told = lines.at(-1)
  if (!wasReady && told) return `It said: ${told}`
  const now = signal === 'SIGKILL' ? oomKills() : null
  if (now !== null && oomBefore !== null && now > oomBefore) {
    return 'The system had no memory left and ended a process. Send smaller batches, or give workers a memory limit (Machine, Settings): then the node fails and the machine goes on.'
  }
  return undefined
}

/** `node`: what it ran; `oomBefore`: `oomKills` as it started. */
export interface DeathFacts {
  wasReady: boolean
  node: string | undefined
  oomBefore: number | null
}

/** The error of everything that waited for a worker which has ended. */
export function deathError(exit: WorkerExit, packs: string[], { wasReady, node, oomBefore }: DeathFacts): BridgeError {
  const { lines, code, signal } = exit
  const hint = hintFor(exit, wasReady, oomBefore)
  const what = `The worker of ${packs.join(', ')} ${describeExit(exit)}${node ? ` while ${node} ran` : ''}.`
  return new BridgeError(wasReady ? 'WORKER_DIED' : 'WORKER_START_FAILED', what, { details: { code, signal, lines }, ...(hint && { hint }) })
}
