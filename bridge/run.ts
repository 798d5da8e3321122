import { startProgram } from './program'
import { readLines } from './workers/outputLines'

/** What a short program said. `code` is null where it could not be started, was ended by a signal, or was ended by us. */
export interface Ran {
  code: number | null
  /** Whether it was ended because its time was over. */
  isLate: boolean
  stdout: string
  stderr: string
}

interface Options {
  env?: Record<string, string>
  signal?: AbortSignal
  cwd?: string
  /** Hears each line when it comes, whoever's code prints and however much: the answer holds nothing of it then. */
  onLine?: (text: string) => void
  /** As `startProgram` has it. */
  isBound?: boolean
}

/** Runs a program to its end; no shell reads its arguments. Failing to start is an answer, not an exception. */
export async function run(file: string, args: string[], timeoutMs: number, { onLine, ...options }: Options = {}): Promise<Ran> {
  const { child, ended } = startProgram(file, args, { ...options, timeoutMs, buffer: !onLine })
  if (onLine) for (const stream of [child.stdout, child.stderr]) readLines(stream, onLine)
  const { code, isLate, stdout, stderr } = await ended
  return { code, isLate, stdout, stderr }
}

/** How a program ended, in words that go on after its name. */
export function endOf({ code, isLate }: Pick<Ran, 'code' | 'isLate'>, timeoutMs: number): string {
  if (isLate) return `was ended: its ${timeoutMs / 60_000} minutes were over`
  return code === null ? 'ended with a signal' : `ended with exit code ${code}`
}
