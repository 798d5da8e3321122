import { errnoOf } from '../files'
import { showProblem } from './background'
import type { Context } from './context'

/** What `process` tells of what nobody has caught. */
interface Faults {
  on: (event: 'unhandledRejection' | 'uncaughtException', listener: (error: unknown) => void) => unknown
  exit: (code: number) => void
}

const textOf = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error))
const firstLine = (error: unknown): string => (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? ''

/**
 * What happens to a failure that nobody has caught: it is written to the bridge's log and journal, and shown. Then the bridge goes on after
 *
 * - a rejected promise: whoever awaits it has its answer, and nothing stands half done in between;
 * - an exception that is the system's (a pipe that broke, a disk that is full): it is about one file or connection.
 *
 * After any other exception nobody knows what was left half done: the bridge ends, and ComfyUI starts another one from what is on disk.
 */
export function catchTheRest(context: Pick<Context, 'store' | 'problems' | 'journal'>, faults: Faults = process): void {
  const report = (what: string, error: unknown): void => {
    console.error(`${what}: ${textOf(error)}`)
    showProblem(context, `${what}: ${firstLine(error)}`)
  }
  faults.on('unhandledRejection', (error) => report('A fault of ours, and the bridge goes on', error))
  faults.on('uncaughtException', (error) => {
    if (typeof errnoOf(error) === 'string' && error instanceof Error && 'syscall' in error) return report('A file or connection failed, and the bridge goes on', error)
    report('A fault of ours, and the bridge is started again', error)
    faults.exit(1)
  })
}
