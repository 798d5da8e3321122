import { isUnwritable } from '../files'
import { ifFree, lockIn, takeLock } from '../osLock'

/** Held together by every process that runs workers on a generation of an env; who deletes it holds it alone. */
const lockOf = (home: string, id: string, generation: number): string => lockIn(home, `use-${id}-${generation}`)

/**
 * Keeps a generation from being deleted by any process of this home; the answer lets go of it. Where no lock can be written, nothing can be deleted either,
 * and workers run all the same.
 */
export function holdGeneration(home: string, id: string, generation: number): Promise<() => void> {
  return takeLock(lockOf(home, id, generation), { shared: true }).catch((error: unknown) => (isUnwritable(error) ? () => undefined : Promise.reject(error)))
}

/** Does something to a generation unless a worker runs on it; false: one does, and nothing was done. */
export async function unlessUsed(home: string, id: string, generation: number, work: () => Promise<unknown>): Promise<boolean> {
  return (await ifFree(lockOf(home, id, generation), async () => [await work()])) !== null
}
