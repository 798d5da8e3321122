import { DoneHeader, type CallNote, type TaskHeader } from '../../schemas/callLink'
import type { WireError } from '../../schemas/errors'
import { BridgeError } from '../errors/bridgeError'
import { frame } from '../rpc/frames'

/** What a worker answered. */
export interface Done {
  body: Buffer
  error: WireError | undefined
  /** The process. */
  owner: string
  /** False: it failed before its values were read, and holds none of the memory that came with them. */
  read: boolean
}

interface Waiting {
  resolve: (done: Done) => void
  reject: (error: BridgeError) => void
  onNote: ((note: CallNote) => void) | undefined
}

/** The tasks of a worker's main thread: gives them out, and matches its answers to them. */
export class TaskLink {
  #next = 1
  #closed: BridgeError | null = null
  readonly #waiting = new Map<number, Waiting>()
  /** Rejects what `until` waits for. */
  readonly #elsewhere = new Set<(reason: BridgeError) => void>()

  /** `give` writes a frame to the worker; `onReleased` hears of leases that it has let go of. */
  constructor(
    private readonly owner: string,
    private readonly give: (data: Buffer) => void,
    private readonly onReleased: (leases: string[]) => void,
  ) {}

  /** As `ask`, for tasks whose errors are ours to throw. */
  async do(task: Omit<TaskHeader, 'id'>): Promise<Buffer> {
    const { body, error } = await this.ask(task)
    if (error) throw BridgeError.fromWire(error)
    return body
  }

  /** Rejects with the reason of `close` if the worker ends first. `onNote` hears what comes before the answer. */
  ask(task: Omit<TaskHeader, 'id'>, body?: Buffer, onNote?: (note: CallNote) => void): Promise<Done> {
    if (this.#closed) return Promise.reject(this.#closed)
    const id = this.#next++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, onNote })
      this.give(frame({ id, ...task }, body))
    })
  }

  /** Waits for the end of a task that went past this link. Rejects with the reason of `close` if the worker ends first. */
  until<T>(told: Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(this.#closed)
    return new Promise((resolve, reject) => {
      this.#elsewhere.add(reject)
      told.then(resolve, reject).finally(() => this.#elsewhere.delete(reject))
    })
  }

  /** Takes one answer. Throws if it is none. */
  answered(header: string, body: Buffer): void {
    const { id, error, unread, released, progress, event, started } = DoneHeader.parse(JSON.parse(header))
    if (released) this.onReleased(released)
    const waiting = this.#waiting.get(id)
    if (progress || event || started) return waiting?.onNote?.({ progress, event, started })
    this.#waiting.delete(id)
    waiting?.resolve({ owner: this.owner, body, error, read: !unread })
  }

  close(reason: BridgeError): void {
    this.#closed = reason
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    waiting.forEach(({ reject }) => reject(reason))
    this.#elsewhere.forEach((reject) => reject(reason))
    this.#elsewhere.clear()
  }
}
