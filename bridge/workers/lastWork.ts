import { setTimeout as pause } from 'node:timers/promises'
import type { WorkerPeer } from './running'

const ASK_EVERY_MS = 250
/** So often in a row it has said that it runs nothing: between two calls it says so once. */
const IDLE_ANSWERS = 4

/** Whether a process that is to end still works, by its own word: what it is thought to run may have ended without a word of that. */
export class LastWork {
  #idle = 0

  constructor(private readonly peer: WorkerPeer | null) {}

  /** Waits a little. A process that does not answer may work in native code, and is believed to. */
  async goesOn(): Promise<boolean> {
    if (!this.peer) return false
    const answer = this.peer.request('worker.ping', {}).then(({ busy }) => busy, () => true)
    const busy = await Promise.race([answer, pause(ASK_EVERY_MS, true, { ref: false })])
    this.#idle = busy ? 0 : this.#idle + 1
    await pause(busy ? 0 : ASK_EVERY_MS, undefined, { ref: false })
    return this.#idle < IDLE_ANSWERS
  }
}
