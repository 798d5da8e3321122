import { setTimeout as pause } from 'node:timers/promises'
import { PROTOCOL_VERSION } from '../../schemas/envelope'
import type { LoadedPack } from '../../schemas/pack'
import type { HostFolders, NodeCall } from '../../schemas/shimLink'
import { bridgeToWorker, workerToBridge } from '../../schemas/workerLink'
import type { WorkerExit, WorkerInfo, WorkerState } from '../../schemas/worker'
import type { z } from 'zod'
import { BridgeError } from '../errors/bridgeError'
import type { LogFile } from '../jobs/logFile'
import { Peer, type Handlers } from '../rpc/peer'
import { WorkerProcess } from './process'
import { decide, recent, type Crashes } from './restartPolicy'

export interface WorkerSpec {
  id: string
  env: string | null
  python: string
  /** Folder of `python_shim`. */
  shim: string
  folders: HostFolders | null
  packs: { id: string; dir: string }[]
  /** Environment variables that its packs ask for. */
  variables: Record<string, string>
}

export interface WorkerEvents {
  onChange: (info: WorkerInfo) => void
  onGone: (packs: string[]) => void
  /** What the worker tells on its own: progress, events for the browser, released leases. */
  notes: Handlers<typeof workerToBridge>
}

type WorkerPeer = Peer<typeof workerToBridge, typeof bridgeToWorker>

const START_MS = 120_000
const STOP_MS = 2000
/** A cancelled call that does not end by itself is interrupted in its Python code, then ended with its process. */
const INTERRUPT_AFTER_MS = 1000
const KILL_AFTER_MS = 6000
const TAIL_LINES = 200
const MOST_WAITING = 64

const describeExit = ({ code, signal }: Omit<WorkerExit, 'lines'>): string =>
  signal ? `was ended by ${signal}` : code === null ? 'could not be started' : `ended with exit code ${code}`

/** A supervised worker: starts on demand, tells at once how its process died, and starts again by the restart policy. */
export class Worker {
  #state: WorkerState = { status: 'stopped' }
  #process: WorkerProcess | null = null
  #peer: WorkerPeer | null = null
  #starting: Promise<WorkerPeer> | null = null
  #crashes: Crashes = []
  #counts = { restarts: 0, calls: 0 }
  #started: number | null = null
  readonly #loaded = new Map<string, Promise<LoadedPack>>()
  readonly #running = new Map<string, string>()
  /** Calls whose results are on their way: their shared memory is this process's until ComfyUI has mapped it. */
  readonly #delivering = new Set<string>()

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
      pid: this.#process?.pid ?? null,
      started: this.#started,
      restarts: this.#counts.restarts,
      calls: this.#counts.calls,
      lines: this.log.count,
    }
  }

  /** Starts the worker if need be, imports the pack once per process, and returns its node classes. */
  async load(pack: string): Promise<LoadedPack> {
    const peer = await this.#ready()
    const known = this.#loaded.get(pack)
    if (known) return known
    const found = this.spec.packs.find(({ id }) => id === pack)
    if (!found) throw new BridgeError('UNKNOWN_PACK', `${pack} does not run in the worker ${this.spec.id}.`)
    const loading = peer.request('pack.load', { pack, dir: found.dir })
    this.#loaded.set(pack, loading)
    loading.catch(() => this.#loaded.delete(pack))
    return loading
  }

  /** Runs a call, at most once. It fails with WORKER_DIED if the process ends first. */
  async call(call: z.infer<typeof NodeCall>): Promise<unknown> {
    if (this.#running.size >= MOST_WAITING) {
      throw new BridgeError('ENV_BUSY', `${this.spec.id} has ${MOST_WAITING} calls waiting.`)
    }
    await this.load(call.pack)
    const peer = await this.#ready()
    this.#running.set(call.call, `${call.class} (node ${call.node})`)
    this.#counts.calls++
    this.#set(this.#busyState())
    try {
      const { value } = await peer.request('node.call', call)
      this.#delivering.add(call.call)
      return value
    } finally {
      this.#running.delete(call.call)
      if (this.#peer === peer) this.#set(this.#busyState())
    }
  }

  /** Cancels a call: asks, then interrupts, then ends the process. True if the call was here. */
  cancel(call: string): boolean {
    if (!this.#running.has(call)) return false
    const target = this.#process
    this.#peer?.notify('call.cancel', { call })
    const insist = async (afterMs: number, act: (target: WorkerProcess) => void): Promise<void> => {
      await pause(afterMs, undefined, { ref: false })
      if (this.#running.has(call) && target && this.#process === target) act(target)
    }
    void insist(INTERRUPT_AFTER_MS, (process) => process.signal('SIGINT'))
    void insist(KILL_AFTER_MS, (process) => {
      this.log.append('A cancelled call did not end: the worker is ended.', 'worker', 'warn')
      process.kill()
    })
    return true
  }

  notify<N extends keyof typeof bridgeToWorker.notifications>(
    name: N,
    params: z.input<(typeof bridgeToWorker.notifications)[N]>,
  ): void {
    this.#peer?.notify(name, params)
  }

  /** ComfyUI has the result of a call. */
  received(call: string): void {
    this.#delivering.delete(call)
  }

  /** Settles when no call runs and every result has arrived, or after the limit. */
  async idle(limitMs: number): Promise<void> {
    const until = Date.now() + limitMs
    while (this.#running.size + this.#delivering.size > 0 && Date.now() < until) await pause(50)
  }

  /** Ends the process without asking it: ComfyUI has gone, and nobody waits for an answer. */
  kill(): void {
    this.#set({ status: 'stopping' })
    this.#process?.kill()
  }

  /** Ends the process; the next call starts a new one. Also forgives earlier crashes. */
  async stop(): Promise<void> {
    this.#crashes = []
    const process = this.#process
    if (!process) return this.#set({ status: 'stopped' })
    this.#set({ status: 'stopping' })
    this.#peer?.notify('worker.shutdown', {})
    const until = Date.now() + STOP_MS
    while (this.#process === process && Date.now() < until) await pause(10)
    process.kill()
    while (this.#process === process) await pause(10)
  }

  async #ready(): Promise<WorkerPeer> {
    if (this.#peer) return this.#peer
    this.#starting ??= this.#start().finally(() => (this.#starting = null))
    return this.#starting
  }

  async #start(): Promise<WorkerPeer> {
    const decision = decide(this.#crashes, Date.now())
    if (decision.restart === 'never') {
      throw new BridgeError('WORKER_CRASH_LOOP', `${this.spec.id} crashed three times in five minutes and is not started again.`, {
        details: { lines: this.log.tail(TAIL_LINES) },
      })
    }
    if (decision.restart === 'at') await pause(Math.max(0, decision.time - Date.now()))
    this.#set({ status: 'starting' })
    this.#started = Date.now()
    const { python, shim, id, folders, variables } = this.spec
    const process: WorkerProcess = new WorkerProcess(python, shim, variables, {
      onMessage: (text) => peer.receive(text),
      onOutput: (text) => this.log.append(text, this.#runningNode() ?? 'worker'),
      onExit: (exit) => this.#exited(peer, exit),
    })
    const peer: WorkerPeer = new Peer((text) => process.send(text), workerToBridge, bridgeToWorker, this.events.notes)
    this.#process = process
    const late = pause(START_MS, 'late', { ref: false })
    const hello = peer.request('worker.hello', { protocol: PROTOCOL_VERSION, worker: id, folders })
    const answer = await Promise.race([hello, late]).catch((error: unknown) => {
      process.kill()
      throw error
    })
    if (answer === 'late') {
      process.kill()
      throw new BridgeError('WORKER_START_FAILED', `${id} did not answer within ${START_MS / 1000} s.`)
    }
    this.#peer = peer
    this.#set({ status: 'ready' })
    return peer
  }

  #runningNode(): string | undefined {
    return this.#running.values().next().value
  }

  #busyState(): WorkerState {
    const node = this.#runningNode()
    return node === undefined ? { status: 'ready' } : { status: 'busy', node }
  }

  #exited(peer: WorkerPeer, exit: Omit<WorkerExit, 'lines'>): void {
    const wanted = this.#state.status === 'stopping'
    const lines = this.log.tail(TAIL_LINES)
    const node = this.#runningNode()
    const started = this.#peer === peer
    this.#process = null
    this.#peer = null
    this.#loaded.clear()
    this.#delivering.clear()
    this.log.append(`The worker ${describeExit(exit)}.`, 'worker', wanted ? 'info' : 'error')
    this.events.onGone(this.spec.packs.map(({ id }) => id))
    const what = `The worker of ${this.spec.packs.map(({ id }) => id).join(', ')} ${describeExit(exit)}`
    const code = started ? 'WORKER_DIED' : 'WORKER_START_FAILED'
    const told = lines.at(-1)
    const hint = started ? undefined : told && `It said: ${told}`
    peer.close(new BridgeError(code, `${what}${node ? ` while ${node} ran` : ''}.`, { details: { ...exit, lines }, ...(hint && { hint }) }))
    if (wanted) return this.#set({ status: 'stopped' })
    const now = Date.now()
    this.#crashes = [...recent(this.#crashes, now), now]
    this.#counts.restarts++
    const decision = decide(this.#crashes, now)
    this.#set({ status: 'crashed', exit: { ...exit, lines }, retry_at: decision.restart === 'at' ? decision.time : null })
  }

  #set(state: WorkerState): void {
    this.#state = state
    this.events.onChange(this.info)
  }
}
