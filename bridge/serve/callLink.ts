import { CallHeader, type AnswerHeader } from '../../schemas/callLink'
import { BridgeError, toWire } from '../errors/bridgeError'
import { frame } from '../rpc/frames'
import type { AcceptCalls, CallConnection } from '../rpc/server'
import type { Told, Worker } from '../workers/worker'
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
  /** Calls that went straight, and who waits for their end. */
  readonly #straight = new Map<string, (told: Told) => void>()
  readonly #early = new Map<string, Told>()

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
        const { id, call, straight } = header.data
        if (id === undefined || !call) return
        void (straight === undefined ? this.#call(connection, id, call, body) : this.#account(connection, id, call, straight))
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

  #told({ released, received, cancel, folders, ended, unsent }: CallHeader): void {
    if (folders && this.context.host) {
      this.context.host = { ...this.context.host, folders }
      this.workers.foldersChanged(folders)
    }
    ended?.forEach((told) => this.#tell(told.call, told))
    unsent?.forEach((call) => this.#again(call))
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

  /** A straight call has not run: it may come through the bridge. */
  #again(call: string): void {
    this.#recent.delete(call)
    this.#older.delete(call)
    this.#tell(call, 'unsent')
  }

  #tell(call: string, told: Told): void {
    const waiting = this.#straight.get(call)
    if (waiting) return waiting(told)
    if (this.#early.size >= REMEMBERED) this.#early.clear() // of calls whose process died just after its answer
    this.#early.set(call, told)
  }

  /** How a straight call ends. The word of that may come on another connection, and so before the word of its start. */
  #end(call: string): Promise<Told> {
    const early = this.#early.get(call)
    this.#early.delete(call)
    if (early) return Promise.resolve(early)
    return new Promise((resolve) => this.#straight.set(call, resolve))
  }

  /** Keeps account of a call that goes straight to a worker's process. ComfyUI has the answer from there, unless the process dies. */
  async #account(connection: CallConnection, id: number, call: NonNullable<CallHeader['call']>, owner: string): Promise<void> {
    const began = performance.now()
    let worker: Worker | undefined
    try {
      this.#once(call)
      worker = this.workers.had(owner)
      const told = await worker.account(call, this.#end(call.call))
      if (told !== 'unsent') this.#note(call, worker, told.ms, told.error)
    } catch (thrown) {
      const error = toWire(thrown)
      connection.send(frame({ id, error, ...this.#withReleased() } satisfies AnswerHeader))
      this.#note(call, worker, performance.now() - began, error)
    } finally {
      this.#straight.delete(call.call)
    }
  }

  async #call(connection: CallConnection, id: number, call: NonNullable<CallHeader['call']>, kwargs: Buffer): Promise<void> {
    const began = performance.now()
    let worker: Worker | undefined
    try {
      this.#once(call)
      worker = this.workers.only(call.pack) ?? (await this.workers.for(call))
      const { body, error, read } = await worker.call(call, kwargs, (note) => connection.send(frame(note satisfies AnswerHeader)))
      const answer: AnswerHeader = { id, ...(read && { worker: worker.spec.id }), straight: this.workers.straight(worker), ...(error && { error }), ...this.#withReleased() }
      connection.send(frame(answer, body))
      this.#note(call, worker, performance.now() - began, error)
    } catch (thrown) {
      const error = toWire(thrown)
      connection.send(frame({ id, error, ...this.#withReleased() } satisfies AnswerHeader))
      this.#note(call, worker, performance.now() - began, error)
    }
  }

  /** After the answer is on its way: a record is nothing to wait for. */
  #note({ call, pack, class: cls, node, prompt }: NonNullable<CallHeader['call']>, worker: Worker | undefined, ms: number, error: { code: string; message: string } | undefined): void {
    this.context.journal.called({ call, pack, class: cls, node, ms, ...(prompt !== null && { prompt }), ...(worker && { worker: worker.spec.id }), ...(error && { code: error.code, message: error.message }) })
  }
}
