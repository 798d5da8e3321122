import { join } from 'node:path'
import type { z } from 'zod'
import type { LoadedPack } from '../../schemas/pack'
import type { NodeCall } from '../../schemas/shimLink'
import type { workerToBridge } from '../../schemas/workerLink'
import type { LogLine } from '../../schemas/job'
import { BridgeError } from '../errors/bridgeError'
import { envIdOf } from '../install/envStore'
import { LogFile } from '../jobs/logFile'
import { readPackNeeds } from '../packs/config'
import type { Handlers } from '../rpc/peer'
import { Worker } from '../workers/worker'
import { packFolder, type Context } from './context'

export interface WorkerServiceEvents {
  onLine: (worker: string, line: LogLine) => void
  onGone: (worker: string, packs: string[]) => void
  notes: Handlers<typeof workerToBridge>
}

/** A worker that is to go may finish what it runs, for this long. */
const LAST_CALLS_MS = 60_000

/** The workers: one for each pack, on the pack's own environment or on ComfyUI's. */
export class WorkerService {
  readonly #workers = new Map<string, Worker>()
  /** These, and the ones that are finishing their last calls. */
  readonly #alive = new Set<Worker>()
  /** Kept when a worker is retired: its log can still be read, and the next one goes on in it. */
  readonly #logs = new Map<string, LogFile>()

  constructor(
    private readonly context: Context,
    private readonly events: WorkerServiceEvents,
  ) {}

  /** The pack's worker, made at first need. */
  async of(pack: string): Promise<Worker> {
    const id = `${envIdOf(pack)}#1`
    const known = this.#workers.get(id)
    if (known) return known
    const { engine, host, store } = this.context
    const { dir } = await packFolder(this.context, pack)
    const [record, variables] = await Promise.all([engine.envs.read(envIdOf(pack)), this.#variables(dir)])
    const meanwhile = this.#workers.get(id) // two first calls at once want one worker
    if (meanwhile) return meanwhile
    const path = join(engine.settings.home, 'logs', `${id.replace('#', '-')}.ndjson`)
    const log = this.#logs.get(id) ?? new LogFile(path, (line) => this.events.onLine(id, line))
    this.#logs.set(id, log)
    const spec = {
      id,
      env: record?.id ?? null,
      python: record ? engine.envs.pythonOf(record) : engine.interpreter,
      shim: engine.settings.pythonShim,
      folders: host?.folders ?? null,
      packs: [{ id: pack, dir }],
      variables,
    }
    const worker = new Worker(spec, log, {
      onChange: (info) => store.apply({ kind: 'worker', worker: info }),
      onGone: (packs) => this.events.onGone(id, packs),
      notes: this.events.notes,
    })
    this.#workers.set(id, worker)
    this.#alive.add(worker)
    return worker
  }

  /** Environment variables of a pack's config. A broken one is the pack's state already, and keeps no worker from starting. */
  async #variables(dir: string): Promise<Record<string, string>> {
    return readPackNeeds(dir, this.context.engine.fingerprint.platform.os).then(({ environment }) => environment, () => ({}))
  }

  find(id: string): Worker {
    const worker = this.#workers.get(id)
    if (!worker) throw new BridgeError('UNKNOWN_WORKER', `There is no worker ${id}.`)
    return worker
  }

  log(id: string): LogFile {
    const log = this.#logs.get(id)
    if (!log) throw new BridgeError('UNKNOWN_WORKER', `There is no worker ${id}.`)
    return log
  }

  async load(pack: string): Promise<LoadedPack> {
    return (await this.of(pack)).load(pack)
  }

  async call(call: z.infer<typeof NodeCall>): Promise<{ value: unknown; worker: string }> {
    const worker = await this.of(call.pack)
    return { value: await worker.call(call), worker: worker.spec.id }
  }

  cancel(call: string): void {
    for (const worker of this.#alive) if (worker.cancel(call)) return
  }

  received(call: string): void {
    this.#alive.forEach((worker) => worker.received(call))
  }

  releaseLeases(leases: string[]): void {
    // a lease's name starts with its owner's process id
    for (const worker of this.#alive) {
      const own = leases.filter((lease) => lease.startsWith(`${worker.info.pid}-`))
      if (own.length > 0) worker.notify('lease.release', { leases: own })
    }
  }

  releaseHandles(id: string, handles: string[]): void {
    this.#workers.get(id)?.notify('handle.release', { handles })
  }

  /** Ends the pack's worker when its calls are done, and forgets it: the next one runs on the environment as it is then. */
  async retire(pack: string): Promise<void> {
    const id = `${envIdOf(pack)}#1`
    const worker = this.#workers.get(id)
    this.#workers.delete(id)
    if (!worker) return
    await worker.idle(LAST_CALLS_MS)
    await worker.stop()
    this.#alive.delete(worker)
  }

  killAll(): void {
    this.#alive.forEach((worker) => worker.kill())
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#alive].map((worker) => worker.stop()))
  }
}
