/** One of the programs that the call benchmarks ask by turns: `timing.py` is its other end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const MARK = '@bench '

export class Side {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  private constructor(file: string, args: string[], env: NodeJS.ProcessEnv, cwd: string) {
    this.#child = spawn(file, args, { stdio: ['pipe', 'pipe', 'ignore'], env, cwd })
    this.#child.stdin?.on('error', () => undefined) // it has ended: the next answer says so
    this.#lines = createInterface({ input: this.#child.stdout ?? process.stdin })[Symbol.asyncIterator]()
  }

  /** Starts it; resolves with what starting took, in milliseconds by case. Rejects if it ends first. */
  static async start(file: string, args: string[], env: NodeJS.ProcessEnv, cwd: string): Promise<{ side: Side; ready: Record<string, number> }> {
    const side = new Side(file, args, env, cwd)
    return { side, ready: (await side.#answer()) as Record<string, number> }
  }

  /** Milliseconds of so many calls of a case. */
  async ask(id: string, count: number): Promise<number[]> {
    this.#child.stdin?.write(`${JSON.stringify({ case: id, count })}\n`)
    return (await this.#answer()) as number[]
  }

  /** Ends it; the most shared memory that it had, in bytes. */
  async end(): Promise<number> {
    this.#child.stdin?.end()
    return ((await this.#answer()) as { peak_shared_bytes: number }).peak_shared_bytes
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  async #answer(): Promise<unknown> {
    for (;;) {
      const { value, done } = await this.#lines.next()
      if (done) throw new Error('it ended')
      if ((value as string).startsWith(MARK)) return JSON.parse((value as string).slice(MARK.length))
    }
  }
}
