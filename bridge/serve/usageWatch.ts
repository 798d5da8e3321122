import { LOOK_MS, readVram, UsageMeter } from '../workers/usage'
import type { Worker } from '../workers/worker'
import { background } from './background'
import type { Context } from './context'

/** What each worker takes, looked at now and then while somebody wants to know. */
export class UsageWatch {
  readonly #meter = new UsageMeter()
  readonly #timer: NodeJS.Timeout
  #looking = false

  constructor(
    private readonly context: Context,
    private readonly workers: ReadonlySet<Worker>,
    private readonly isWatched: () => boolean,
  ) {
    this.#timer = setInterval(() => background(context, 'What workers take is not known', this.#look()), LOOK_MS).unref()
  }

  end(): void {
    clearInterval(this.#timer)
  }

  /** One look at a time. */
  async #look(): Promise<void> {
    const running = [...this.workers].flatMap((worker) => (worker.pid === null ? [] : [{ worker, pid: worker.pid }]))
    if (this.#looking || running.length === 0 || !this.isWatched()) return
    this.#looking = true
    try {
      const vram = this.context.engine.fingerprint.gpus.length > 0 ? await readVram() : null
      this.#meter.forget(running.map(({ pid }) => pid))
      for (const { worker, pid } of running) worker.measured(await this.#meter.measure(pid, vram))
    } finally {
      this.#looking = false
    }
  }
}
