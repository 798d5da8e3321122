import { rm } from 'node:fs/promises'
import type { z } from 'zod'
import type { Straight } from '../../schemas/callLink'
import type { LoadedPack } from '../../schemas/pack'
import type { HostFolders, NodeCall } from '../../schemas/shimLink'
import type { bridgeToWorker, workerToBridge } from '../../schemas/workerLink'
import type { LogLine } from '../../schemas/job'
import { BridgeError } from '../errors/bridgeError'
import { LogFile } from '../jobs/logFile'
import type { Handlers } from '../rpc/peer'
import { goneObject, Worker } from '../workers/worker'
import { background } from './background'
import type { Context } from './context'
import { IdleWorkers } from './idleWorkers'
import { Sharing, type Pool } from './sharing'
import { UsageWatch } from './usageWatch'
import { workerLog } from './workerLogs'
import { specOf } from './workerSpecs'

export interface WorkerServiceEvents {
  onLine: (worker: string, line: LogLine) => void
  onLoaded: (loaded: LoadedPack) => void
  onGone: (worker: string, owner: string, packs: string[]) => void
  /** The environment of a pack cannot run. */
  onBroken: (pack: string) => void
  /** Leases of ComfyUI's memory that a worker has let go of. */
  onReleased: (leases: string[]) => void
  /** Whether anyone looks at what workers take. */
  watched: () => boolean
  notes: Omit<Handlers<typeof workerToBridge>, 'handles.kept'>
}

/** A worker that is to go may finish what it runs, for this long. */
const LAST_CALLS_MS = 60_000
const LOOK_FOR_IDLE_MS = 5000

/** The workers: one or more for each pack, or for packs that share one, on the pack's own environment or on ComfyUI's. */
export class WorkerService {
  /** By the name of what they run: a pack's env, or a set of packs that share. */
  readonly #pools = new Map<string, Worker[]>()
  /** These, and the ones that are finishing their last calls. */
  readonly #alive = new Set<Worker>()
  /** Kept when a worker is retired: its log can still be read, and the next one goes on in it. */
  readonly #logs = new Map<string, LogFile>()
  /** Which worker holds a node's instance, where a pack has several. */
  readonly #places = new Map<string, Worker>()
  /** How many workers of a pool are being made. */
  readonly #making = new WeakMap<Worker[], number>()
  readonly #sharing: Sharing
  readonly #usage: UsageWatch
  readonly #idleWatch: NodeJS.Timeout

  constructor(
    private readonly context: Context,
    private readonly events: WorkerServiceEvents,
  ) {
    this.#sharing = new Sharing(context)
    this.#usage = new UsageWatch(context, this.#alive, events.watched)
    const idle = new IdleWorkers(context)
    this.#idleWatch = setInterval(() => idle.look(this.#alive), LOOK_FOR_IDLE_MS).unref()
  }

  /** The workers of a pack; the first is made at first need. */
  async #of(pack: string): Promise<Worker[]> {
    const pool = await this.#sharing.poolOf(pack)
    const known = this.#pools.get(pool.id)
    if (known) return known
    const first = await this.#make(pack, pool, 1)
    const meanwhile = this.#pools.get(pool.id) // two first calls at once want one worker
    if (meanwhile) {
      first.spec.leave()
      return meanwhile
    }
    this.#pools.set(pool.id, [first])
    this.#alive.add(first)
    return [first]
  }

  async #make(pack: string, pool: Pool, number: number): Promise<Worker> {
    const { engine, store, run } = this.context
    const spec = await specOf(this.context, pack, pool, number, () => this.events.onBroken(pack))
    const { id } = spec
    const log = this.#logs.get(id) ?? new LogFile(workerLog(engine.settings.home, run, id), (line) => this.events.onLine(id, line))
    this.#logs.set(id, log)
    return new Worker(spec, log, {
      onChange: (info) => store.apply({ kind: 'worker', worker: info }),
      onLoaded: this.events.onLoaded,
      onGone: (owner, names) => {
        for (const path of [spec.socket(owner), spec.straight?.(owner)]) if (path) background(this.context, `${path} is left`, rm(path, { force: true }))
        this.events.onGone(id, owner, names)
      },
      onReleased: (leases) => this.releaseLeases(leases),
      folders: () => this.context.host?.folders ?? null,
      notes: this.events.notes,
    })
  }

  find(id: string): Worker {
    const named = ({ spec }: Worker): boolean => spec.id === id
    const worker = [...this.#pools.values()].flat().find(named) ?? [...this.#alive].find(named) // one that is on its last calls has a successor of its name
    if (!worker) throw new BridgeError('UNKNOWN_WORKER', `There is no worker ${id}.`)
    return worker
  }

  /** Ends a worker and starts it at once; its packs are imported anew. */
  async restart(id: string): Promise<void> {
    const worker = this.find(id)
    await worker.stop()
    await Promise.all(worker.spec.packs.map((pack) => worker.import(pack.id)))
  }

  log(id: string): LogFile {
    const log = this.#logs.get(id)
    if (!log) throw new BridgeError('UNKNOWN_WORKER', `There is no worker ${id}.`)
    return log
  }

  async load(pack: string): Promise<LoadedPack> {
    const [first] = await this.#of(pack)
    if (!first) throw new BridgeError('UNKNOWN_PACK', `${pack} has no worker.`)
    return first.import(pack)
  }

  /** Whether the pack's workers run on another generation of its environment than the one that is in use now. */
  async isOutdated(pack: string): Promise<boolean> {
    const { id } = await this.#sharing.poolOf(pack)
    const workers = this.#pools.get(id) ?? []
    const record = workers.length > 0 ? await this.context.engine.envs.ofPack(pack) : null
    return workers.some(({ spec }) => spec.generation !== (record?.generation ?? null))
  }

  /** The warm worker of a pack, for what goes beside its calls; null if none is warm. */
  async side(pack: string): Promise<ReturnType<Worker['sidePeer']>> {
    const { id } = await this.#sharing.poolOf(pack)
    return this.#pools.get(id)?.[0]?.sidePeer(pack) ?? null
  }

  /** The pack's only worker without a look at the disk; null if it has several, or none yet. */
  only(pack: string): Worker | null {
    if (this.context.engine.settings.workers.perPack > 1) return null
    const pool = this.#sharing.known(pack)
    return pool === undefined ? null : (this.#pools.get(pool)?.[0] ?? null)
  }

  /** The worker for a call: the one that holds its node's instance or its objects, else the one with the least to do. */
  async for(call: z.infer<typeof NodeCall>): Promise<Worker> {
    const workers = await this.#of(call.pack)
    const [first] = workers
    if (!first) throw new BridgeError('UNKNOWN_PACK', `${call.pack} has no worker.`)
    if (call.owners && call.owners.length > 0) return this.#holding(call, call.owners, workers)
    const most = this.context.engine.settings.workers.perPack
    if (most === 1) return first
    const node = JSON.stringify([call.pack, call.class, call.node])
    const known = this.#places.get(node)
    if (known && workers.includes(known)) return known
    const making = this.#making.get(workers) ?? 0
    const free = workers.find(({ load }) => load === 0) ?? (workers.length + making < most ? await this.#another(call.pack, workers) : null)
    const chosen = free ?? workers.toSorted((a, b) => a.load - b.load)[0] ?? first
    chosen.expect()
    this.#places.set(node, chosen)
    return chosen
  }

  /** The worker whose process has the objects among a call's inputs. Throws HANDLE_GONE or HANDLE_FOREIGN: the node has not run. */
  #holding(call: z.infer<typeof NodeCall>, owners: string[], workers: Worker[]): Worker {
    const current = [...this.#pools.values()].flat() // not one on its last calls
    const gone = owners.filter((owner) => !current.some((worker) => worker.owner === owner))
    const holders = new Set(current.filter(({ owner }) => owner !== null && owners.includes(owner)))
    const [holder] = holders
    if (!holder || gone.length > 0) throw goneObject(call, gone)
    if (holders.size === 1 && workers.includes(holder)) return holder
    const foreign = [...holders].find((each) => !workers.includes(each)) ?? holder // of several workers of the pack, one has to do
    throw new BridgeError('HANDLE_FOREIGN', `${call.class} (node ${call.node}) was given an object of ${foreign.spec.id}. It cannot leave it.`, { details: { owner: foreign.owner } })
  }

  async #another(pack: string, workers: Worker[]): Promise<Worker> {
    const making = this.#making.get(workers) ?? 0
    this.#making.set(workers, making + 1) // many calls come at once: each number is given once
    try {
      const worker = await this.#make(pack, await this.#sharing.poolOf(pack), workers.length + making + 1)
      workers.push(worker)
      this.#alive.add(worker)
      return worker
    } finally {
      this.#making.set(workers, (this.#making.get(workers) ?? 1) - 1)
    }
  }

  /** Where further calls of a pack may go without the bridge; undefined: nowhere. Of several workers the bridge chooses one for each call. */
  straight(worker: Worker): Straight | undefined {
    return this.context.engine.settings.workers.perPack > 1 ? undefined : (worker.straight ?? undefined)
  }

  /** The worker that had a process, for a call that went to that one. */
  had(owner: string): Worker {
    const worker = [...this.#alive].find((one) => one.had(owner))
    if (!worker) throw new BridgeError('WORKER_DIED', 'The worker of a call is gone.')
    return worker
  }

  /** Settings have changed: where a pack may have several workers now, the bridge gives out its calls. */
  settingsChanged(): void {
    if (this.context.engine.settings.workers.perPack > 1) this.#alive.forEach((worker) => worker.closeStraight())
  }

  /** False: no worker has that call. */
  cancel(call: string): boolean {
    return [...this.#alive].some((worker) => worker.cancel(call))
  }

  received(call: string): void {
    this.#alive.forEach((worker) => worker.received(call))
  }

  foldersChanged(folders: HostFolders): void {
    this.#alive.forEach((worker) => worker.foldersChanged(folders))
  }

  /** Tells the owners of leases that nobody holds them any more. */
  releaseLeases(leases: string[]): void {
    let rest = leases
    for (const worker of this.#alive) {
      const own = rest.filter((lease) => worker.owns(lease))
      if (own.length === 0) continue
      worker.notify('lease.release', { leases: own })
      rest = rest.filter((lease) => !own.includes(lease))
    }
    if (rest.length > 0) this.events.onReleased(rest)
  }

  /** ComfyUI has let go of objects. Those of a process that has ended are gone anyway. */
  releaseHandles(owner: string, handles: string[]): void {
    for (const worker of this.#alive) if (worker.process === owner) worker.notify('handle.release', { handles })
  }

  /** The processes that there are. */
  get owners(): string[] {
    return [...this.#alive].flatMap(({ process }) => process ?? [])
  }

  /** Tells every worker. */
  tellAll<N extends 'instance.release' | 'prompt.ended'>(name: N, params: z.input<(typeof bridgeToWorker.notifications)[N]>): void {
    for (const worker of this.#alive) worker.notify(name, params)
  }

  /** ComfyUI unloads its models: the GPU's memory that workers hold is wanted too. */
  unloadModels(): void {
    for (const worker of this.#alive) worker.unloadModels()
  }

  /** Ends the pack's workers when their calls are done, and forgets them: the next ones run on the environment as it is then. */
  async retire(pack: string): Promise<void> {
    const { id } = await this.#sharing.poolOf(pack)
    const workers = this.#pools.get(id) ?? []
    this.#pools.delete(id)
    this.#sharing.forget()
    await Promise.all(
      workers.map(async (worker) => {
        worker.closeStraight()
        await worker.idle(LAST_CALLS_MS)
        await worker.retire(true)
        this.#alive.delete(worker)
        worker.spec.leave()
      }),
    )
  }

  killAll(): void {
    this.#alive.forEach((worker) => worker.kill())
  }

  async stopAll(): Promise<void> {
    clearInterval(this.#idleWatch)
    this.#usage.end()
    await Promise.all([...this.#alive].map((worker) => worker.retire()))
  }
}
