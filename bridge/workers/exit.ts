import type { WorkerExit } from '../../schemas/worker'
import { BridgeError } from '../errors/bridgeError'

/** How a process ended, as the end of a sentence. */
export const describeExit = ({ code, signal }: Omit<WorkerExit, 'lines'>): string =>
  signal ? `was ended by ${signal}` : code === null ? 'could not be started' : `ended with exit code ${code}`

/** The error of everything that waited for a worker which has ended. `node`: what it ran. */
export function deathError(exit: WorkerExit, packs: string[], wasReady: boolean, node: string | undefined): BridgeError {
  const { lines, code, signal } = exit
  const told = lines.at(-1)
  const hint = !wasReady && told ? `It said: ${told}` : undefined
  const what = `The worker of ${packs.join(', ')} ${describeExit(exit)}${node ? ` while ${node} ran` : ''}.`
  return new BridgeError(wasReady ? 'WORKER_DIED' : 'WORKER_START_FAILED', what, { details: { code, signal, lines }, ...(hint && { hint }) })
}
