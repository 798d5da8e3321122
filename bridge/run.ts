import { execa } from 'execa'
import { readLines } from './workers/outputLines'

/** What a short program said. `code` is null where it could not be started or was ended by a signal. */
export interface Ran {
  code: number | null
  stdout: string
  stderr: string
}

interface Options {
  env?: Record<string, string>
  signal?: AbortSignal
  cwd?: string
  /** Hears each line when it comes, whoever's code prints and however much: the answer holds nothing of it then. */
  onLine?: (text: string) => void
}

/** Runs a program to its end, never through a shell. Failing to start is an answer, not an exception. */
export async function run(file: string, args: string[], timeoutMs: number, { env, signal, cwd, onLine }: Options = {}): Promise<Ran> {
  const child = execa(file, args, {
    reject: false,
    timeout: timeoutMs,
    stdin: 'ignore',
    ...(env && { env }),
    ...(cwd && { cwd }),
    ...(signal && { cancelSignal: signal }),
    ...(onLine && { buffer: false }),
  })
  if (onLine) for (const stream of [child.stdout, child.stderr]) readLines(stream, onLine)
  const result = await child
  return { code: result.exitCode ?? null, stdout: result.stdout ?? '', stderr: result.stderr ?? '' }
}
