import { execa } from 'execa'

/** What a short program said. `code` is null where it could not be started or was ended by a signal. */
export interface Ran {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs a short program to its end, never through a shell. Failing to start is an answer, not an exception. */
export async function run(file: string, args: string[], timeoutMs: number, options: { env?: Record<string, string>; signal?: AbortSignal; cwd?: string } = {}): Promise<Ran> {
  const { env, signal, cwd } = options
  const result = await execa(file, args, {
    reject: false,
    timeout: timeoutMs,
    stdin: 'ignore',
    ...(env && { env }),
    ...(cwd && { cwd }),
    ...(signal && { cancelSignal: signal }),
  })
  return { code: result.exitCode ?? null, stdout: result.stdout ?? '', stderr: result.stderr ?? '' }
}
