import type { WorkerHealth, WorkerUsage } from '../../schemas/worker'

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

/** What one process takes, and whether it answers. */
export class Vitals {
  usage: WorkerUsage | null = null
  health: WorkerHealth = 'ok'
  /** When the question was sent that is not answered yet. */
  #asked: number | null = null

  /** Takes a measurement, and asks the process for an answer if none is awaited. True if what is shown has changed. */
  measured(usage: WorkerUsage | null, ask: (() => Promise<unknown>) | null): boolean {
    const before = JSON.stringify([this.usage, this.health])
    this.usage = usage
    this.health = judgeHealth(this.#asked === null ? 0 : performance.now() - this.#asked, usage?.cpu_percent ?? 0)
    if (this.#asked === null && ask) {
      this.#asked = performance.now()
      const answered = (): void => void (this.#asked = null)
      ask().then(answered, answered)
    }
    return JSON.stringify([this.usage, this.health]) !== before
  }
}
