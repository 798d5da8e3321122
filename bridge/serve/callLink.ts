import { CallHeader, type AnswerHeader } from '../../schemas/callLink'
import type { WireError } from '../../schemas/errors'
import { BridgeError, toWire } from '../errors/bridgeError'
import { frame } from '../rpc/frames'
import type { AcceptCalls, CallConnection } from '../rpc/server'
import type { Worker } from '../workers/worker'
import type { Context } from './context'
import type { WorkerService } from './workerService'

/** So many calls are remembered at least. */
const REMEMBERED = 10_000

/** The call path: takes calls from ComfyUI's connections and hands them to workers, without a look at their values. */
export class CallLinks {
  #released: string[] = []
  /** Ids of the last calls, in two halves: the older one is forgotten as the newer one is full. */
  #recent = new Set<string>()
  #older = new Set<string>()

  constructor(
    private readonly context: Context,
    private readonly workers: WorkerService,
    private readonly tellReleased: (leases: string[]) => void,
  ) {}

  accept(connection: CallConnection): AcceptCalls {
    return {
      onFrame: (text, body) => {
        const header = CallHeader.safeParse(JSON.parse(text))
        if (!header.success) return connection.close() // the shim and the bridge are of one release: this is no shim
        this.#told(header.data)
        if (header.data.call && header.data.id !== undefined) void this.#call(connection, header.data.id, header.data.call, body)
      },
      onClose: () => undefined, // a call whose answer nobody takes goes on: it runs once, whatever becomes of ComfyUI
    }
  }

  /** Leases of ComfyUI's memory that a worker has let go of: they go with the answer that is about to be sent, if there is one. */
  release(leases: string[]): void {
    if (this.#released.length === 0) setImmediate(() => this.#released.length > 0 && this.tellReleased(this.#takeReleased()))
    this.#released.push(...leases)
  }

  #takeReleased(): string[] {
    const leases = this.#released
    this.#released = []
    return leases
  }

  #withReleased(): { released?: string[] } {
    return this.#released.length > 0 ? { released: this.#takeReleased() } : {}
  }

  #told({ released, received, cancel, folders }: CallHeader): void {
    if (folders && this.context.host) {
      this.context.host = { ...this.context.host, folders }
      this.workers.foldersChanged(folders)
    }
    received?.forEach((call) => this.workers.received(call))
    if (released) this.workers.releaseLeases(released)
    if (cancel) this.workers.cancel(cancel)
  }

  /** Throws for a call that was sent before: it runs at most once. */
  #once({ call }: NonNullable<CallHeader['call']>): void {
    if (this.#recent.has(call) || this.#older.has(call)) throw new BridgeError('BAD_REQUEST', `The call ${call} was sent before. It is not run twice.`)
    this.#recent.add(call)
    if (this.#recent.size < REMEMBERED) return
    this.#older = this.#recent
    this.#recent = new Set()
  }

  async #call(connection: CallConnection, id: number, call: NonNullable<CallHeader['call']>, kwargs: Buffer): Promise<void> {
    const began = performance.now()
    let worker: Worker | undefined
    try {
      this.#once(call)
      worker = this.workers.only(call.pack) ?? (await this.workers.for(call))
      const { body, error, read } = await worker.call(call, kwargs, (note) => connection.send(frame(note satisfies AnswerHeader)))
      const answer: AnswerHeader = { id, ...(read && { worker: worker.spec.id }), ...(error && { error }), ...this.#withReleased() }
      connection.send(frame(answer, body))
      this.#note(call, worker, performance.now() - began, error)
    } catch (thrown) {
      const error = toWire(thrown)
      connection.send(frame({ id, error, ...this.#withReleased() } satisfies AnswerHeader))
      this.#note(call, worker, performance.now() - began, error)
    }
  }

  /** After the answer is on its way: a record is nothing to wait for. */
  #note({ call, pack, class: cls, node, prompt }: NonNullable<CallHeader['call']>, worker: Worker | undefined, ms: number, error: WireError | undefined): void {
    this.context.journal.called({ call, pack, class: cls, node, ms, ...(prompt !== null && { prompt }), ...(worker && { worker: worker.spec.id }), ...(error && { code: error.code, message: error.message }) })
  }
}
