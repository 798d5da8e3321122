import { setTimeout as pause } from 'node:timers/promises'
import type { LastCall } from '../../schemas/worker'
import { BridgeError } from '../errors/bridgeError'

/** How a call ended: its result is on its way to ComfyUI, or there already; it failed; it never reached the process. */
export type Ending = 'delivering' | 'done' | 'failed' | 'unsent'

interface Open {
  node: string
  /** Whether a process has it. */
  given: boolean
  /** Ends its wait for a process. */
  cancel: ((reason: BridgeError) => void) | null
  /** Its process was asked to end it. */
  isEnding: boolean
}

/** The calls of a worker: those that run or wait, and those whose results are on their way to ComfyUI. */
export class OpenCalls {
  readonly #open = new Map<string, Open>()
  /** Their shared memory is the worker's until ComfyUI has mapped it. */
  readonly #delivering = new Set<string>()
  #lastUsed = performance.now() // not the clock of the day, which may jump
  #count = 0
  #last: LastCall | null = null
  /** Who waits until no call is to end any more. */
  #waiting: (() => void)[] = []

  /** Calls that run or wait. */
  get size(): number {
    return this.#open.size
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
    for (const { node, given } of this.#open.values()) if (given) return node
    return undefined
  }

  /** Milliseconds since the worker was last needed; 0 while it is. */
  get idleMs(): number {
    return this.#isNeeded ? 0 : performance.now() - this.#lastUsed
  }

  get #isNeeded(): boolean {
    return this.#open.size + this.#delivering.size > 0
  }

  has(call: string): boolean {
    return this.#open.has(call)
  }

  /** Calls that a process has. */
  get given(): number {
    let count = 0
    for (const { given } of this.#open.values()) if (given) count++
    return count
  }

  /** A process gets it now. */
  give(call: string): void {
    const open = this.#open.get(call)
    if (open) open.given = true
  }

  /** Its process was asked to end it, and may have to be ended for it. */
  ends(call: string): void {
    const open = this.#open.get(call)
    if (open) open.isEnding = true
  }

  /** Whether a process has a call that was asked to end. */
  get isEnding(): boolean {
    return [...this.#open.values()].some((open) => open.isEnding)
  }

  /** Settles when none has. */
  untilEnded(): Promise<void> {
    return this.isEnding ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve()
  }

  /** Waits for a process, unless the call is cancelled first: then it does not run. */
  async unlessCancelled<T>(call: string, ready: Promise<T>): Promise<T> {
    const open = this.#open.get(call)
    if (!open) return ready
    const cancelled = new Promise<never>((_, reject) => (open.cancel = reject))
    try {
      return await Promise.race([ready, cancelled])
    } finally {
      open.cancel = null
    }
  }

  /** False: it waits for a process no more. */
  cancelWaiting(call: string): boolean {
    const cancel = this.#open.get(call)?.cancel
    cancel?.(new BridgeError('NODE_INTERRUPTED', 'The call was cancelled before it ran.'))
    return Boolean(cancel)
  }

  /** The worker was needed just now, if not for a call. */
  used(): void {
    this.#lastUsed = performance.now()
  }

  /** Keeps `work` as a call of `node` while it runs. */
  async during<T>(call: string, node: string, work: () => Promise<T>, endingOf: (done: T) => Ending): Promise<T> {
    const began = performance.now()
    let ending: Ending = 'failed'
    this.#open.set(call, { node, given: false, cancel: null, isEnding: false })
    this.#count++
    try {
      const done = await work()
      ending = endingOf(done)
      if (ending === 'delivering') this.#delivering.add(call)
      return done
    } finally {
      this.#open.delete(call)
      if (!this.isEnding) this.#waiting.splice(0).forEach((go) => go())
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
