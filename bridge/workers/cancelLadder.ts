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
  setTimeout(() => runs() && interrupt(), INTERRUPT_AFTER_MS).unref()
  setTimeout(() => runs() && kill(), KILL_AFTER_MS).unref()
}
