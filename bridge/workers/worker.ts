import type { CallNote, Ended, Straight } from '../../schemas/callLink'
import { LoadedPack } from '../../schemas/pack'
import type { HostFolders, NodeCall } from '../../schemas/shimLink'
import type { bridgeToWorker } from '../../schemas/workerLink'
import type { WorkerInfo, WorkerUsage } from '../../schemas/worker'
import type { z } from 'zod'
import { BridgeError, toWire } from '../errors/bridgeError'
import type { LogFile } from '../jobs/logFile'
import { quietly } from '../quietly'
import { climb } from './cancelLadder'
import { Vitals } from './health'
import { Lifecycle } from './lifecycle'
import { OpenCalls, type Ending } from './openCalls'
import { interrupt, type Running, type WorkerPeer } from './running'
import type { Done } from './taskLink'
import type { WorkerEvents, WorkerSpec } from './workerSpec'

/** How a straight call ended, as ComfyUI says; `unsent`: the process did not take it. */
export type Told = Ended | 'unsent'

const nodeOf = (call: z.infer<typeof NodeCall>): string => `${call.class} (node ${call.node})`

/** A process that has one of its inputs has ended: `owners` are those. */
export const goneObject = (call: z.infer<typeof NodeCall>, owners: string[]): BridgeError =>
  new BridgeError('HANDLE_GONE', `An object that ${nodeOf(call)} was to be given is gone: the process that had it has ended. The node has not run.`, { details: { owners } })

/** ComfyUI's part sends no more than 16 of a pack at once. */
const MOST_WAITING = 1024

/** A call that is shorter than this is not shown as one: it would only make the panel flicker. */
const SHOW_BUSY_MS = 50

/** A supervised worker: starts on demand, tells at once how its process died, and starts again by the restart policy. */
export class Worker {
  #showing: NodeJS.Timeout | null = null
  #expected = 0
  #vitals = new Vitals()
  readonly #life: Lifecycle
  readonly #loading = new Map<string, Promise<LoadedPack>>()
  readonly #loaded = new Set<string>()
  readonly #calls = new OpenCalls()

  constructor(
    readonly spec: WorkerSpec,
    readonly log: LogFile,
    private readonly events: WorkerEvents,
  ) {
    this.#life = new Lifecycle(spec, log, events, {
      node: () => this.#calls.node,
      given: () => this.#calls.given,
      onStarted: () => {
        this.#vitals = new Vitals()
        this.#calls.used()
      },
      onEnded: () => {
        this.#loading.clear()
        this.#loaded.clear()
        this.#calls.lost()
      },
      onState: () => this.events.onChange(this.info),
    })
  }

  get info(): WorkerInfo {
    return {
      id: this.spec.id,
      env: this.spec.env,
      packs: this.spec.packs.map(({ id }) => id),
      state: this.#life.state,
      pid: this.pid,
      sandboxed: this.spec.sandbox !== null,
      started: this.#life.started,
      restarts: this.#life.restarts,
      calls: this.#calls.count,
      lines: this.log.count,
      usage: this.process ? this.#vitals.usage : null,
      last_call: this.#calls.last,
      health: this.process ? this.#vitals.health : 'ok',
    }
  }

  /** What its processes take now; whether it answers is asked beside that. */
  measured(usage: WorkerUsage | null): void {
    const peer = this.#life.running?.peer
    if (this.#vitals.measured(usage, peer ? () => peer.request('worker.ping', {}) : null)) this.events.onChange(this.info)
  }

  /** The process that calls go to now; null: none. */
  get owner(): string | null {
    return this.#life.running && !this.#life.running.process.ended ? this.#life.running.owner : null
  }

  /** Its process, also while it starts or finishes its last calls; null: there is none. */
  get process(): string | null {
    return this.#life.existing?.owner ?? null
  }

  /** Whether ComfyUI has objects that would end with its process. */
  get keepsObjects(): boolean {
    return (this.#life.existing?.objects ?? 0) > 0
  }

  /** Whether a lease is of its process: such a name starts with its owner's. */
  owns(lease: string): boolean {
    return this.#life.existing !== null && lease.startsWith(`${this.#life.existing.owner}-`)
  }

  get pid(): number | null {
    return this.#life.existing?.process.pid ?? null
  }

  /** Calls that run or wait here, or are about to. */
  get load(): number {
    return this.#calls.size + this.#expected
  }

  /** It was chosen for a call, which comes in this turn of the event loop: another that is placed meanwhile goes elsewhere. */
  expect(): void {
    this.#expected++
    setImmediate(() => this.#expected--)
  }

  /** Milliseconds since a running worker was last needed; 0 while it is, imports a pack, or while there is no process. */
  get idleMs(): number {
    const imports = this.#loading.size > this.#loaded.size
    return this.#life.running === null || imports ? 0 : this.#calls.idleMs
  }

  /** Starts the worker if need be, imports the pack once per process, and returns its node classes. */
  async import(pack: string): Promise<LoadedPack> {
    const { tasks } = await this.#life.ready()
    const known = this.#loading.get(pack)
    if (known) return known
    const found = this.spec.packs.find(({ id }) => id === pack)
    if (!found) throw new BridgeError('UNKNOWN_PACK', `${pack} does not run in the worker ${this.spec.id}.`)
    const loading = tasks.do({ load: { pack, dir: found.dir } }).then((body) => LoadedPack.parse(JSON.parse(body.toString())))
    this.#loading.set(pack, loading)
    loading.then(
      (loaded) => {
        this.#loaded.add(pack)
        this.#calls.used()
        this.events.onLoaded(loaded)
      },
      () => this.#loading.delete(pack),
    )
    return loading
  }

  /** Runs a call, at most once; `kwargs` and the result are JSON that is not looked at. Rejects with WORKER_DIED if the process ends first. */
  async call(call: z.infer<typeof NodeCall>, kwargs: Buffer, onNote: (note: CallNote) => void): Promise<Done> {
    if (this.#calls.size >= MOST_WAITING) {
      throw new BridgeError('ENV_BUSY', `${this.spec.id} has ${MOST_WAITING} calls waiting.`)
    }
    const work = async (): Promise<Done> => {
      if (this.#calls.isEnding) await this.#calls.unlessCancelled(call.call, this.#calls.untilEnded())
      const warm = this.#life.running && !this.#life.running.process.ended && this.#loaded.has(call.pack) ? this.#life.running : null // it is not waited for
      const running = warm ?? (await this.#calls.unlessCancelled(call.call, this.#withPack(call.pack)))
      const gone = call.owners?.filter((owner) => owner !== running.owner) ?? []
      if (gone.length > 0) throw goneObject(call, gone)
      this.#calls.give(call.call)
      this.#showBusy()
      return this.#run(running, call, kwargs, onNote)
    }
    return this.#calls.during(call.call, nodeOf(call), work, ({ error }) => (error ? 'failed' : 'delivering')).finally(() => this.#showBusy())
  }

  /** A process that has imported the pack. One that ends just then is followed by the next. */
  async #withPack(pack: string): Promise<Running> {
    for (;;) {
      const { stops } = this.#life
      try {
        await this.import(pack)
      } catch (error) {
        if (stops === this.#life.stops) throw error // else its process was stopped under it
      }
      if (this.#life.running && this.#loaded.has(pack)) return this.#life.running
    }
  }

  /** Where its process takes calls from ComfyUI itself; null: nowhere, or not any more. */
  get straight(): Straight | null {
    const running = this.#life.running
    if (running?.socket == null || this.#calls.isEnding) return null
    return { worker: this.spec.id, owner: running.owner, socket: running.socket }
  }

  /** Whether that is its process, or was its last one. */
  had(owner: string): boolean {
    return this.#life.latest?.owner === owner
  }

  /** Keeps account of a call that ComfyUI has sent to the process itself, until `told`. Rejects with how the process died, if that is first. */
  async account(call: z.infer<typeof NodeCall>, told: Promise<Told>): Promise<Told> {
    const { tasks } = this.#life.latest ?? {}
    if (!tasks) throw new BridgeError('WORKER_DIED', `${this.spec.id} has no process.`)
    const ended = (done: Told): Ending => (done === 'unsent' ? done : done.error ? 'failed' : 'done')
    const work = (): Promise<Told> => {
      this.#calls.give(call.call)
      this.#showBusy()
      return tasks.until(told)
    }
    return this.#calls.during(call.call, nodeOf(call), work, ended).finally(() => this.#showBusy())
  }

  /** From now on all calls come through the bridge. */
  closeStraight(): void {
    const running = this.#life.running
    if (running?.socket == null) return
    running.socket = null
    running.peer.notify('calls.close', {})
  }

  /** A check of inputs does not wait for the node that runs: ComfyUI asks while it takes the next prompt. */
  async #run({ owner, peer, tasks, process }: Running, call: z.infer<typeof NodeCall>, kwargs: Buffer, onNote: (note: CallNote) => void): Promise<Done> {
    if (call.method !== 'VALIDATE_INPUTS') return tasks.ask({ call }, kwargs, onNote)
    try {
      const { value } = await peer.request('side.call', { call, kwargs: JSON.parse(kwargs.toString()) })
      return { owner, body: Buffer.from(JSON.stringify(value)), error: undefined, read: true }
    } catch (error) {
      if (process.ended) throw error
      return { owner, body: Buffer.alloc(0), error: toWire(error), read: true } // it may have read it before it failed
    }
  }

  /** The link for what goes beside the calls, if the pack is loaded here now. */
  sidePeer(pack: string): WorkerPeer | null {
    return this.#life.running && this.#loaded.has(pack) ? this.#life.running.peer : null
  }

  /** ComfyUI has other folders than before: from the next call on. */
  foldersChanged(folders: HostFolders): void {
    quietly('a process that has ended gets them when it starts', this.#life.running?.tasks.do({ folders }))
  }

  /** Models that it has loaded go from the GPU, after the calls that it has. */
  unloadModels(): void {
    quietly('a process that has ended holds none', this.#life.running?.tasks.do({ unload: true }))
  }

  /** Cancels a call: asks, then interrupts, then ends the process; what comes meanwhile waits, and runs in the next one then. True if the call was here. */
  cancel(call: string): boolean {
    if (!this.#calls.has(call)) return false
    if (this.#calls.cancelWaiting(call)) return true // no process has it
    const target = this.#life.existing
    this.#calls.ends(call)
    target?.peer.notify('call.cancel', { call })
    climb({
      runs: () => this.#calls.has(call) && target !== null && this.#life.existing === target,
      interrupt: () => target && interrupt(target),
      kill: () => {
        this.log.append('A cancelled call did not end: the worker is ended.', 'worker', 'warn')
        this.#life.endHung()
      },
    })
    return true
  }

  notify<N extends keyof typeof bridgeToWorker.notifications>(name: N, params: z.input<(typeof bridgeToWorker.notifications)[N]>): void {
    this.#life.existing?.peer.notify(name, params)
  }

  /** ComfyUI has the result of a call. */
  received(call: string): void {
    this.#calls.received(call)
  }

  /** Settles when no call runs and every result has arrived, or after the limit. */
  idle(limitMs: number): Promise<void> {
    return this.#calls.settled(limitMs)
  }

  /** Ends the process without asking it: ComfyUI has gone, and nobody waits for an answer. */
  kill(): void {
    this.#life.kill()
  }

  /** Ends the process; the next call starts a new one. Also forgives earlier crashes. `patient`: what it still runs may take its time. */
  stop(patient = false): Promise<void> {
    this.closeStraight()
    return this.#life.stop(patient)
  }

  /** Ends the process for good: no other follows. */
  retire(patient = false): Promise<void> {
    this.closeStraight()
    return this.#life.retire(patient)
  }

  /** Busy or ready, as it is when the time to show it comes. */
  #showBusy(): void {
    if (this.#showing) return
    this.#showing = setTimeout(() => {
      this.#showing = null
      if (!this.#life.running || this.#life.state.status === 'stopping') return
      const { node } = this.#calls
      this.#life.set(node === undefined ? { status: 'ready' } : { status: 'busy', node })
    }, SHOW_BUSY_MS).unref()
  }
}
