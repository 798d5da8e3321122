import { setTimeout as pause } from 'node:timers/promises'
import type { WorkerExit, WorkerState } from '../../schemas/worker'
import { BridgeError } from '../errors/bridgeError'
import type { LogFile } from '../jobs/logFile'
import { deathError, describeExit } from './exit'
import { LastWork } from './lastWork'
import { decide, recent, type Crashes } from './restartPolicy'
import { greet, spawnWorker, type Running } from './running'
import { removeOwnFolder } from './segmentsFolder'
import type { WorkerEvents, WorkerSpec } from './workerSpec'

const STOP_MS = 2000
const TAIL_LINES = 200

/** Its pack has other workers now. The call has not run, and may go to one of these. */
export class Retired extends BridgeError {
  constructor(worker: string) {
    super('WORKER_DIED', `${worker} takes no more calls.`)
  }
}

export interface LifecycleEvents {
  /** The node that runs now. */
  node: () => string | undefined
  /** Calls that the process has been given, and that have not ended as far as is known. */
  given: () => number
  onStarted: () => void
  /** Its process has ended, and nobody has been told yet. */
  onEnded: () => void
  onState: () => void
}

/** One process after the other, by the restart policy: there is never more than one, and none that is not known here. */
export class Lifecycle {
  #state: WorkerState = { status: 'stopped' }
  /** The process that was started last, also when it ends or has ended. */
  #latest: Running | null = null
  #exists = false
  #running: Running | null = null
  #starting: Promise<Running> | null = null
  #stopping: Promise<void> | null = null
  #patient = false
  /** How often it was told to stop: a start that was under way begins anew. */
  #stops = 0
  #retired = false
  #crashes: Crashes = []
  restarts = 0
  started: number | null = null

  constructor(
    private readonly spec: WorkerSpec,
    private readonly log: LogFile,
    private readonly events: WorkerEvents,
    private readonly own: LifecycleEvents,
  ) {}

  get state(): WorkerState {
    return this.#state
  }

  /** The process that takes calls now. */
  get running(): Running | null {
    return this.#running
  }

  /** Its process, also while it starts or finishes its last calls. */
  get existing(): Running | null {
    return this.#exists ? this.#latest : null
  }

  /** The process that was started last, also when it has ended. */
  get latest(): Running | null {
    return this.#latest
  }

  /** How often it was told to stop. */
  get stops(): number {
    return this.#stops
  }

  /** Ends the process without asking it: ComfyUI has gone, and nobody waits for an answer. */
  kill(): void {
    this.#retired = true
    this.set({ status: 'stopping' })
    this.existing?.process.kill()
  }

  /** Ends the process; the next call starts a new one. Also forgives earlier crashes. `patient`: what it still runs may take its time. */
  stop(patient: boolean): Promise<void> {
    this.#crashes = []
    this.#stops++
    this.#patient = patient && (this.#patient || this.#stopping === null)
    this.#stopping ??= this.#stop().finally(() => (this.#stopping = null))
    return this.#stopping
  }

  /** Ends a process that does not hear: what we end is no crash. The next call starts a new one. */
  endHung(): void {
    this.#running = null
    this.set({ status: 'stopping' })
    this.existing?.process.kill()
  }

  /** Ends the process for good: no other follows. */
  async retire(patient: boolean): Promise<void> {
    this.#retired = true
    await this.stop(patient)
  }

  async #stop(): Promise<void> {
    const ending = this.existing
    if (!ending) return this.set({ status: 'stopped' })
    this.#running = null // calls from now on wait for the next process
    this.set({ status: 'stopping' })
    ending.process.endTasks()
    const until = performance.now() + STOP_MS
    while (this.existing === ending && performance.now() < until) await pause(10)
    const work = new LastWork(ending.ready ? ending.peer : null)
    while (this.#patient && this.existing === ending && this.own.given() > 0 && (await work.goesOn())) await pause(10)
    ending.process.kill()
    while (this.existing === ending) await pause(10)
  }

  /** A process that answers. What has died is given nothing more, also if nobody has heard of its end yet: what it was given would fail with it. */
  async ready(): Promise<Running> {
    for (;;) {
      if (this.#running?.process.ended) await this.#running.process.gone
      if (this.#running) return this.#running
      if (this.#stopping) await this.#stopping
      const stops = this.#stops
      this.#starting ??= this.#start().finally(() => (this.#starting = null))
      try {
        return await this.#starting
      } catch (error) {
        if (stops === this.#stops) throw error // else it was stopped, and who waits wants the next one
      }
    }
  }

  async #start(): Promise<Running> {
    await this.existing?.process.gone
    const decision = decide(this.#crashes, performance.now())
    if (decision.restart === 'never') {
      throw new BridgeError('WORKER_CRASH_LOOP', `${this.spec.id} crashed three times in five minutes and is not started again.`, {
        details: { lines: this.log.tail(TAIL_LINES) },
      })
    }
    if (decision.restart === 'at') await pause(Math.max(0, decision.time - performance.now()))
    await this.spec.check()
    if (this.#stopping) await this.#stopping
    if (this.#retired) throw new Retired(this.spec.id)
    this.set({ status: 'starting' })
    this.started = Date.now()
    const running = spawnWorker(this.spec, this.events, (text) => this.log.append(text, this.own.node() ?? 'worker'), (ended, exit) => this.#exited(ended, exit))
    this.#latest = running
    this.#exists = true
    await greet(running, this.spec, this.events)
    if (this.existing !== running || this.#stopping) {
      await running.process.gone
      throw new BridgeError('WORKER_START_FAILED', `${this.spec.id} was stopped while it started.`)
    }
    this.#running = running
    this.own.onStarted()
    this.set({ status: 'ready' })
    return running
  }

  #exited(ended: Running, exit: Omit<WorkerExit, 'lines'>): void {
    const wanted = this.#state.status === 'stopping'
    const lines = this.log.tail(TAIL_LINES)
    const packs = this.spec.packs.map(({ id }) => id)
    const node = this.own.node()
    if (this.spec.segments) removeOwnFolder(this.spec.segments, ended.owner)
    this.#exists = false
    this.#running = null
    this.own.onEnded()
    this.log.append(`The worker ${describeExit(exit)}.`, 'worker', wanted ? 'info' : 'error')
    this.events.onGone(ended.owner, packs)
    const reason = deathError({ ...exit, lines }, packs, { wasReady: ended.ready, node, oomBefore: ended.oomBefore })
    ended.tasks.close(reason)
    ended.peer.close(reason)
    if (wanted) return this.set({ status: 'stopped' })
    const now = performance.now()
    this.#crashes = [...recent(this.#crashes, now), now]
    this.restarts++
    const decision = decide(this.#crashes, now)
    this.set({ status: 'crashed', exit: { ...exit, lines }, retry_at: decision.restart === 'at' ? Date.now() + decision.time - now : null })
  }

  set(state: WorkerState): void {
    this.#state = state
    this.own.onState()
  }
}
