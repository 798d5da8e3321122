import type { WorkerHealth } from '../../schemas/worker'

/** Without an answer for so long, and without using the CPU, a worker is silent; after that long it is stuck. Milliseconds. */
const SILENT_MS = 2500
const STUCK_MS = 12_000
/** Percent of a core. Native code that holds Python's lock cannot answer, and works all the same. */
const WORKS = 3

/** What is seen of a worker from outside. Nobody ends it for this: only the user does. */
export function judgeHealth(silentMs: number, cpuPercent: number): WorkerHealth {
  if (silentMs < SILENT_MS || cpuPercent >= WORKS) return 'ok'
  return silentMs < STUCK_MS ? 'silent' : 'stuck'
}
