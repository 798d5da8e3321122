import { setTimeout as pause } from 'node:timers/promises'

/** A cancelled call that does not end by itself is interrupted in its Python code, then ended with its process. */
const INTERRUPT_AFTER_MS = 1000
const KILL_AFTER_MS = 6000

export interface LadderSteps {
  /** Whether the call still runs, in the process that it ran in. */
  runs: () => boolean
  interrupt: () => void
  kill: () => void
}

/** What follows after a call was asked to end. */
export function climb({ runs, interrupt, kill }: LadderSteps): void {
  const after = async (ms: number, act: () => void): Promise<void> => {
    await pause(ms, undefined, { ref: false })
    if (runs()) act()
  }
  void after(INTERRUPT_AFTER_MS, interrupt)
  void after(KILL_AFTER_MS, kill)
}
