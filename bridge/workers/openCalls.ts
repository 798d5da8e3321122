import { setTimeout as pause } from 'node:timers/promises'
import type { LastCall } from '../../schemas/worker'

/** How a call ended: its result is on its way to ComfyUI, or there already; it failed; it never reached the process. */
export type Ending = 'delivering' | 'done' | 'failed' | 'unsent'

/** The calls of a worker: those that run or wait, and those whose results are on their way to ComfyUI. */
export class OpenCalls {
  readonly #nodes = new Map<string, string>()
  /** Their shared memory is the worker's until ComfyUI has mapped it. */
  readonly #delivering = new Set<string>()
  #lastUsed = performance.now() // not the clock of the day, which may jump
  #count = 0
  #last: LastCall | null = null

  /** Calls that run or wait. */
  get size(): number {
    return this.#nodes.size
  }

  /** Calls so far. */
  get count(): number {
    return this.#count
  }

  get last(): LastCall | null {
    return this.#last
  }

  /** The node of the call that runs. */
  get node(): string | undefined {
    return this.#nodes.values().next().value
  }

  /** Milliseconds since the worker was last needed; 0 while it is. */
  get idleMs(): number {
    return this.#isNeeded ? 0 : performance.now() - this.#lastUsed
  }

  get #isNeeded(): boolean {
    return this.#nodes.size + this.#delivering.size > 0
  }

  has(call: string): boolean {
    return this.#nodes.has(call)
  }

  /** The worker was needed just now, if not for a call. */
  used(): void {
    this.#lastUsed = performance.now()
  }

  /** Keeps `work` as a call of `node` while it runs. */
  async during<T>(call: string, node: string, work: () => Promise<T>, endingOf: (done: T) => Ending): Promise<T> {
    const began = performance.now()
    let ending: Ending = 'failed'
    this.#nodes.set(call, node)
    this.#count++
    try {
      const done = await work()
      ending = endingOf(done)
      if (ending === 'delivering') this.#delivering.add(call)
      return done
    } finally {
      this.#nodes.delete(call)
      this.used()
      if (ending === 'unsent') this.#count--
      else this.#last = { node, ended: Date.now(), seconds: (this.#lastUsed - began) / 1000, failed: ending === 'failed' }
    }
  }

  /** ComfyUI has the result of a call. */
  received(call: string): void {
    this.#delivering.delete(call)
  }

  /** The process has gone, and with it what it had to deliver. */
  lost(): void {
    this.#delivering.clear()
  }

  /** Settles when no call runs and every result has arrived, or after the limit. */
  async settled(limitMs: number): Promise<void> {
    const until = performance.now() + limitMs
    while (this.#isNeeded && performance.now() < until) await pause(50)
  }
}
