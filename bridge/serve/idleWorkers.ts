import { setTimeout as pause } from 'node:timers/promises'
import type { Worker } from '../workers/worker'
import { background } from './background'
import type { Context } from './context'

/** A worker gives memory back when nobody has needed it for so long. */
const RELAX_AFTER_MS = 30_000
/** A process that does not answer in this time is at work. */
const ANSWER_MS = 5000

/** Workers that nobody has needed for a while give memory back, and end later, unless the user keeps their pack warm. */
export class IdleWorkers {
  readonly #relaxed = new WeakSet<Worker>()
  /** When each last worked beside its calls, by `performance.now()`. */
  readonly #beside = new WeakMap<Worker, number>()

  constructor(private readonly context: Context) {}

  look(workers: Iterable<Worker>): void {
    const { idleMinutes, keepWarm } = this.context.engine.settings.workers
    for (const worker of workers) {
      const { idleMs } = worker
      const kept = worker.spec.packs.some(({ id }) => keepWarm.includes(id))
      if (!kept && !worker.keepsObjects && idleMinutes > 0 && idleMs > idleMinutes * 60_000) background(this.context, `${worker.spec.id} could not be ended`, this.#end(worker, idleMinutes * 60_000))
      else if (idleMs < RELAX_AFTER_MS) this.#relaxed.delete(worker)
      else if (!this.#relaxed.has(worker)) {
        this.#relaxed.add(worker)
        worker.notify('worker.relax', {})
      }
    }
  }

  async #end(worker: Worker, limitMs: number): Promise<void> {
    if (await this.#worksBeside(worker, limitMs)) return
    if (worker.idleMs > limitMs) await worker.stop(true)
  }

  /** Whether its packs serve a request or have a thread at work, or have had lately. */
  async #worksBeside(worker: Worker, limitMs: number): Promise<boolean> {
    const peer = worker.spec.packs.map(({ id }) => worker.sidePeer(id)).find((one) => one !== null)
    if (!peer) return false
    const answer = peer.request('worker.ping', {}).then(({ beside_ms }) => beside_ms, () => null)
    const ago = await Promise.race([answer, pause(ANSWER_MS, 0, { ref: false })])
    const now = performance.now()
    if (ago !== null) this.#beside.set(worker, Math.max(this.#beside.get(worker) ?? 0, now - ago))
    return now - (this.#beside.get(worker) ?? -Infinity) < limitMs
  }
}
