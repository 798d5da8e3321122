import { setTimeout as pause } from 'node:timers/promises'
import type { CallNote, Ended, Straight } from '../../schemas/callLink'
import { LoadedPack } from '../../schemas/pack'
import type { HostFolders, NodeCall } from '../../schemas/shimLink'
import type { bridgeToWorker } from '../../schemas/workerLink'
import type { WorkerExit, WorkerInfo, WorkerState, WorkerUsage } from '../../schemas/worker'
import type { z } from 'zod'
import { BridgeError, toWire } from '../errors/bridgeError'
import type { LogFile } from '../jobs/logFile'
import { climb } from './cancelLadder'
import { deathError, describeExit } from './exit'
import { Vitals } from './health'
import { LastWork } from './lastWork'
import { OpenCalls, type Ending } from './openCalls'
import type { WorkerProcess } from './process'
import { decide, recent, type Crashes } from './restartPolicy'
import { greet, spawnWorker, type Running, type WorkerPeer } from './running'
import { removeOwnFolder } from './segmentsFolder'
import type { Done } from './taskLink'
import type { WorkerEvents, WorkerSpec } from './workerSpec'

/** How a straight call ended, as ComfyUI says; `unsent`: the process did not take it. */
export type Told = Ended | 'unsent'

const nodeOf = (call: z.infer<typeof NodeCall>): string => `${call.class} (node ${call.node})`

/** The process that has one of its inputs has ended. */
export const goneObject = (call: z.infer<typeof NodeCall>): BridgeError =>
  new BridgeError('HANDLE_GONE', `An object that ${nodeOf(call)} was to be given is gone: the process that had it has ended. The node has not run.`)

const STOP_MS = 2000
const TAIL_LINES = 200
/** ComfyUI's part sends no more than 16 of a pack at once. */
const MOST_WAITING = 1024

/** Its pack has other workers now. The call has not run, and may go to one of these. */
export class Retired extends BridgeError {
  constructor(worker: string) {
    super('WORKER_DIED', `${worker} takes no more calls.`)
  }
}

/** A call that is shorter than this is not shown as one: it would only make the panel flicker. */
const SHOW_BUSY_MS = 50

/** A supervised worker: starts on demand, tells at once how its process died, and starts again by the restart policy. */
export class Worker {
  #state: WorkerState = { status: 'stopped' }
  #process: WorkerProcess | null = null
  #running: Running | null = null
  /** The process that was started last, also when it ends or has ended. */
  #latest: Running | null = null
  #starting: Promise<Running> | null = null
  #stopping: Promise<void> | null = null
  /** How often it was told to stop: a start that was under way begins anew. */
  #stops = 0
  #retired = false
  #crashes: Crashes = []
  #restarts = 0
  #started: number | null = null
  #showing: NodeJS.Timeout | null = null
  #vitals = new Vitals()
  readonly #loading = new Map<string, Promise<LoadedPack>>()
  readonly #loaded = new Set<string>()
  readonly #calls = new OpenCalls()

  constructor(
    readonly spec: WorkerSpec,
    readonly log: LogFile,
    private readonly events: WorkerEvents,
  ) {}

  get info(): WorkerInfo {
    return {
      id: this.spec.id,
      env: this.spec.env,
      packs: this.spec.packs.map(({ id }) => id),
      state: this.#state,
      pid: this.pid,
      sandboxed: this.spec.sandbox !== null,
      started: this.#started,
      restarts: this.#restarts,
      calls: this.#calls.count,
      lines: this.log.count,
      usage: this.#process ? this.#vitals.usage : null,
      last_call: this.#calls.last,
      health: this.#process ? this.#vitals.health : 'ok',
    }
  }

  /** What its processes take now; whether it answers is asked beside that. */
  measured(usage: WorkerUsage | null): void {
    const peer = this.#running?.peer
    if (this.#vitals.measured(usage, peer ? () => peer.request('worker.ping', {}) : null)) this.events.onChange(this.info)
  }

  /** The process that calls go to now; null: none. */
  get owner(): string | null {
    return this.#running && !this.#running.process.ended ? this.#running.owner : null
  }

  /** Its process, also while it starts or finishes its last calls. */
  get #existing(): Running | null {
    return this.#process ? this.#latest : null
  }

  /** The name of that process; null: there is none. */
  get process(): string | null {
    return this.#existing?.owner ?? null
  }

  /** Whether ComfyUI has objects that would end with its process. */
  get keepsObjects(): boolean {
    return (this.#existing?.objects ?? 0) > 0
  }

  /** Whether a lease is of its process: such a name starts with its owner's. */
  owns(lease: string): boolean {
    return this.#existing !== null && lease.startsWith(`${this.#existing.owner}-`)
  }

  get pid(): number | null {
    return this.#process?.pid ?? null
  }

  /** Calls that run or wait here. */
  get load(): number {
    return this.#calls.size
  }

  /** Milliseconds since a running worker was last needed; 0 while it is, or while there is no process. */
  get idleMs(): number {
    return this.#running === null ? 0 : this.#calls.idleMs
  }

  /** Starts the worker if need be, imports the pack once per process, and returns its node classes. */
  async import(pack: string): Promise<LoadedPack> {
    const { tasks } = await this.#ready()
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
      const warm = this.#running && !this.#running.process.ended && this.#loaded.has(call.pack) ? this.#running : null // it is not waited for
      const running = warm ?? (await this.#calls.unlessCancelled(call.call, this.#withPack(call.pack)))
      if (call.owners?.some((owner) => owner !== running.owner)) throw goneObject(call)
      this.#calls.give(call.call)
      this.#showBusy()
      return this.#run(running, call, kwargs, onNote)
    }
    return this.#calls.during(call.call, nodeOf(call), work, ({ error }) => (error ? 'failed' : 'delivering')).finally(() => this.#showBusy())
  }

  /** A process that has imported the pack. One that ends just then is followed by the next. */
  async #withPack(pack: string): Promise<Running> {
    for (;;) {
      await this.import(pack)
      if (this.#running && this.#loaded.has(pack)) return this.#running
    }
  }

  /** Where its process takes calls from ComfyUI itself; null: nowhere, or not any more. */
  get straight(): Straight | null {
    const running = this.#running
    if (running?.socket == null) return null
    return { worker: this.spec.id, owner: running.owner, socket: running.socket }
  }

  /** Whether that is its process, or was its last one. */
  had(owner: string): boolean {
    return this.#latest?.owner === owner
  }

  /** Keeps account of a call that ComfyUI has sent to the process itself, until `told`. Rejects with how the process died, if that is first. */
  async account(call: z.infer<typeof NodeCall>, told: Promise<Told>): Promise<Told> {
    const { tasks } = this.#latest ?? {}
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
    const running = this.#running
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
    return this.#running && this.#loaded.has(pack) ? this.#running.peer : null
  }

  /** ComfyUI has other folders than before: from the next call on. */
  foldersChanged(folders: HostFolders): void {
    void this.#running?.tasks.do({ folders }).catch(() => undefined)
  }

  /** Models that it has loaded go from the GPU, after the calls that it has. */
  unloadModels(): void {
    void this.#running?.tasks.do({ unload: true }).catch(() => undefined)
  }

  /** Cancels a call: asks, then interrupts, then ends the process. True if the call was here. */
  cancel(call: string): boolean {
    if (!this.#calls.has(call)) return false
    if (this.#calls.cancelWaiting(call)) return true // no process has it
    const target = this.#process
    this.#existing?.peer.notify('call.cancel', { call })
    climb({
      runs: () => this.#calls.has(call) && target !== null && this.#process === target,
      interrupt: () => target?.signal('SIGINT'),
      kill: () => {
        this.log.append('A cancelled call did not end: the worker is ended.', 'worker', 'warn')
        target?.kill()
      },
    })
    return true
  }

  notify<N extends keyof typeof bridgeToWorker.notifications>(
    name: N,
    params: z.input<(typeof bridgeToWorker.notifications)[N]>,
  ): void {
    this.#existing?.peer.notify(name, params)
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
    this.#retired = true
    this.#set({ status: 'stopping' })
    this.#process?.kill()
  }

  /** Ends the process; the next call starts a new one. Also forgives earlier crashes. `patient`: what it still runs may take its time. */
  stop(patient = false): Promise<void> {
    this.#crashes = []
    this.#stops++
    this.#stopping ??= this.#stop(patient).finally(() => (this.#stopping = null))
    return this.#stopping
  }

  /** Ends the process for good: no other follows. */
  async retire(patient = false): Promise<void> {
    this.#retired = true
    await this.stop(patient)
  }

  async #stop(patient: boolean): Promise<void> {
    const process = this.#process
    if (!process) return this.#set({ status: 'stopped' })
    this.closeStraight()
    this.#running = null // calls from now on wait for the next process
    this.#set({ status: 'stopping' })
    process.endTasks()
    const until = performance.now() + STOP_MS
    while (this.#process === process && performance.now() < until) await pause(10)
    const work = new LastWork(this.#latest?.peer ?? null)
    while (patient && this.#process === process && this.#calls.given > 0 && (await work.goesOn())) await pause(10)
    process.kill()
    while (this.#process === process) await pause(10)
  }

  /** A process that answers. What has died is given nothing more, also if nobody has heard of its end yet: what it was given would fail with it. */
  async #ready(): Promise<Running> {
    for (;;) {
      if (this.#running?.process.ended) await this.#running.process.gone
      if (this.#running) return this.#running
      if (this.#stopping) await this.#stopping
      const stops = this.#stops
      this.#starting ??= this.#start().finally(() => (this.#starting = null))
      try {
        return await this.#starting
      } catch (error) {
        if (stops === this.#stops || this.#retired) throw error // else it was stopped, and who waits wants the next one
      }
    }
  }

  /** One process, or none: an earlier one that failed is gone before the next is there. */
  async #start(): Promise<Running> {
    await this.#existing?.process.gone
    const decision = decide(this.#crashes, performance.now())
    if (decision.restart === 'never') {
      throw new BridgeError('WORKER_CRASH_LOOP', `${this.spec.id} crashed three times in five minutes and is not started again.`, {
        details: { lines: this.log.tail(TAIL_LINES) },
      })
    }
    if (decision.restart === 'at') await pause(Math.max(0, decision.time - performance.now()))
    if (this.#stopping) await this.#stopping
    if (this.#retired) throw new Retired(this.spec.id)
    this.#set({ status: 'starting' })
    this.#started = Date.now()
    const running = spawnWorker(this.spec, this.events, (text) => this.log.append(text, this.#calls.node ?? 'worker'), (ended, exit) => this.#exited(ended, exit))
    this.#process = running.process
    this.#latest = running
    this.#vitals = new Vitals()
    await greet(running, this.spec, this.events)
    if (this.#process !== running.process || this.#stopping) {
      await running.process.gone
      throw new BridgeError('WORKER_START_FAILED', `${this.spec.id} was stopped while it started.`)
    }
    this.#running = running
    this.#calls.used()
    this.#set({ status: 'ready' })
    return running
  }

  /** Busy or ready, as it is when the time to show it comes. */
  #showBusy(): void {
    if (this.#showing) return
    this.#showing = setTimeout(() => {
      this.#showing = null
      if (!this.#running || this.#state.status === 'stopping') return
      const { node } = this.#calls
      this.#set(node === undefined ? { status: 'ready' } : { status: 'busy', node })
    }, SHOW_BUSY_MS).unref()
  }

  #exited(ended: Running, exit: Omit<WorkerExit, 'lines'>): void {
    const wanted = this.#state.status === 'stopping'
    const lines = this.log.tail(TAIL_LINES)
    const { node } = this.#calls
    const { owner } = ended
    if (this.spec.segments) removeOwnFolder(this.spec.segments, owner)
    if (this.#process === ended.process) this.#process = null
    this.#running = null
    this.#loading.clear()
    this.#loaded.clear()
    this.#calls.lost()
    this.log.append(`The worker ${describeExit(exit)}.`, 'worker', wanted ? 'info' : 'error')
    this.events.onGone(owner, this.spec.packs.map(({ id }) => id))
    const reason = deathError({ ...exit, lines }, this.spec.packs.map(({ id }) => id), { wasReady: ended.ready, node, oomBefore: ended.oomBefore })
    ended.tasks.close(reason)
    ended.peer.close(reason)
    if (wanted) return this.#set({ status: 'stopped' })
    const now = performance.now()
    this.#crashes = [...recent(this.#crashes, now), now]
    this.#restarts++
    const decision = decide(this.#crashes, now)
    this.#set({ status: 'crashed', exit: { ...exit, lines }, retry_at: decision.restart === 'at' ? Date.now() + decision.time - now : null })
  }

  #set(state: WorkerState): void {
    this.#state = state
    this.events.onChange(this.info)
  }
}
