import { join } from 'node:path'
import type { z } from 'zod'
import type { LoadedPack } from '../../schemas/pack'
import type { NodeCall } from '../../schemas/shimLink'
import type { workerToBridge } from '../../schemas/workerLink'
import type { LogLine } from '../../schemas/job'
import { BridgeError } from '../errors/bridgeError'
import { envIdOf } from '../install/envStore'
import { LogFile } from '../jobs/logFile'
import type { Handlers } from '../rpc/peer'
import { Worker } from '../workers/worker'
import { packFolder, type Context } from './context'

export interface WorkerServiceEvents {
  onLine: (worker: string, line: LogLine) => void
  onGone: (worker: string, packs: string[]) => void
  notes: Handlers<typeof workerToBridge>
}

/** The workers: one for each pack, on the pack's own environment or on ComfyUI's. */
export class WorkerService {
  readonly #workers = new Map<string, Worker>()

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
    const record = await engine.envs.read(envIdOf(pack))
    const path = join(engine.settings.home, 'logs', `${id.replace('#', '-')}.ndjson`)
    const log = new LogFile(path, (line) => this.events.onLine(id, line))
    const spec = {
      id,
      env: record?.id ?? null,
      python: record ? engine.envs.pythonOf(record) : engine.interpreter,
      shim: engine.settings.pythonShim,
      folders: host?.folders ?? null,
      packs: [{ id: pack, dir }],
    }
    const worker = new Worker(spec, log, {
      onChange: (info) => store.apply({ kind: 'worker', worker: info }),
      onGone: (packs) => this.events.onGone(id, packs),
      notes: this.events.notes,
    })
    this.#workers.set(id, worker)
    return worker
  }

  find(id: string): Worker {
    const worker = this.#workers.get(id)
    if (!worker) throw new BridgeError('UNKNOWN_WORKER', `There is no worker ${id}.`)
    return worker
  }

  async load(pack: string): Promise<LoadedPack> {
    return (await this.of(pack)).load(pack)
  }

  async call(call: z.infer<typeof NodeCall>): Promise<{ value: unknown; worker: string }> {
    const worker = await this.of(call.pack)
    return { value: await worker.call(call), worker: worker.spec.id }
  }

  cancel(call: string): void {
    for (const worker of this.#workers.values()) if (worker.cancel(call)) return
  }

  releaseLeases(leases: string[]): void {
    // a lease's name starts with its owner's process id
    for (const worker of this.#workers.values()) {
      const own = leases.filter((lease) => lease.startsWith(`${worker.info.pid}-`))
      if (own.length > 0) worker.notify('lease.release', { leases: own })
    }
  }

  releaseHandles(id: string, handles: string[]): void {
    this.#workers.get(id)?.notify('handle.release', { handles })
  }

  /** Ends the pack's worker and forgets it: the next one runs on the environment as it is then. */
  async retire(pack: string): Promise<void> {
    const id = `${envIdOf(pack)}#1`
    await this.#workers.get(id)?.stop()
    this.#workers.delete(id)
  }

  killAll(): void {
    this.#workers.forEach((worker) => worker.kill())
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#workers.values()].map((worker) => worker.stop()))
  }
}
