import { CallHeader, type AnswerHeader, type CallNote } from '../../schemas/callLink'
import { BridgeError, toWire } from '../errors/bridgeError'
import { frame } from '../rpc/frames'
import type { AcceptCalls, CallConnection } from '../rpc/server'
import { Retired } from '../workers/lifecycle'
import type { Done } from '../workers/taskLink'
import type { Told, Worker } from '../workers/worker'
import { background } from './background'
import type { Context } from './context'
import type { WorkerService } from './workerService'

/** What is no header of ours ends its own call only; without one to answer there is nothing to go on with. */
function refuse(connection: CallConnection, raw: unknown): void {
  const id = typeof raw === 'object' && raw !== null && 'id' in raw ? raw.id : null
  if (typeof id !== 'number') return connection.close()
  connection.send(frame({ id, error: toWire(new BridgeError('BAD_REQUEST', 'A call that cannot be read was refused.')) } satisfies AnswerHeader))
}

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
  /** Calls that were cancelled before a worker had them. */
  readonly #cancelled = new Set<string>()

  constructor(
    private readonly context: Context,
    private readonly workers: WorkerService,
    private readonly tellReleased: (leases: string[]) => void,
  ) {}

  accept(connection: CallConnection): AcceptCalls {
    return {
      onFrame: (text, body) => {
        const raw: unknown = JSON.parse(text)
        const header = CallHeader.safeParse(raw)
        if (!header.success) return refuse(connection, raw)
        this.#told(header.data)
        const { id, call, straight } = header.data
        if (id === undefined || !call) return
        const work = straight === undefined ? this.#call(connection, id, call, body) : this.#account(connection, id, call, straight)
        background(this.context, `A call of ${call.pack} has no answer`, work)
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
    if (cancel) this.#cancel(cancel)
  }

  #cancel(call: string): void {
    if (this.workers.cancel(call)) return
    if (this.#cancelled.size >= REMEMBERED) this.#cancelled.clear() // most are of calls that have just ended
    this.#cancelled.add(call)
  }

  /** A cancel may come while the call's worker is still being found. */
  #refuseCancelled(call: string): void {
    if (this.#cancelled.delete(call)) throw new BridgeError('NODE_INTERRUPTED', 'The call was cancelled before it ran.')
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
      const accounted = worker.account(call, this.#end(call.call))
      if (this.#cancelled.delete(call.call)) worker.cancel(call.call)
      const told = await accounted
      if (told !== 'unsent') this.#note(call, worker, told.ms, told.error)
    } catch (thrown) {
      const error = toWire(thrown)
      connection.send(frame({ id, error, ...this.#withReleased() } satisfies AnswerHeader))
      this.#note(call, worker, performance.now() - began, error)
    } finally {
      this.#straight.delete(call.call)
    }
  }

  async #worker(call: NonNullable<CallHeader['call']>): Promise<Worker> {
    const worker = (call.owners ? null : this.workers.only(call.pack)) ?? (await this.workers.for(call))
    this.#refuseCancelled(call.call)
    return worker
  }

  /** Runs a call. A worker that has been replaced since it was found has not taken it: its successor gets it. */
  async #run(worker: Worker, call: NonNullable<CallHeader['call']>, kwargs: Buffer, onNote: (note: CallNote) => void): Promise<{ done: Done; by: Worker }> {
    try {
      return { done: await worker.call(call, kwargs, onNote), by: worker }
    } catch (error) {
      const next = error instanceof Retired ? await this.#worker(call) : worker
      if (next === worker) throw error
      return { done: await next.call(call, kwargs, onNote), by: next }
    }
  }

  async #call(connection: CallConnection, id: number, call: NonNullable<CallHeader['call']>, kwargs: Buffer): Promise<void> {
    const began = performance.now()
    let worker: Worker | undefined
    try {
      this.#once(call)
      worker = await this.#worker(call)
      const onNote = (note: CallNote): void => connection.send(frame(note satisfies AnswerHeader))
      const { done, by } = await this.#run(worker, call, kwargs, onNote)
      const { body, error, read, owner } = done
      worker = by
      const answer: AnswerHeader = { id, ...(read && { owner }), straight: this.workers.straight(worker), ...(error && { error }), ...this.#withReleased() }
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
