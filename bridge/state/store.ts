import type { EnvInfo } from '../../schemas/env'
import type { JobInfo } from '../../schemas/job'
import type { PackInfo } from '../../schemas/pack'
import type { HostInfo, Snapshot, StateEvent } from '../../schemas/panelLink'
import type { WorkerInfo } from '../../schemas/worker'

type Unnumbered<T> = T extends { seq: number } ? Omit<T, 'seq'> : never
export type Change = Unnumbered<StateEvent>

/** What panels show, and the number of its last change. Every change goes out as one event; a snapshot stands for all before it. */
export class Store {
  #seq = 0
  readonly packs = new Map<string, PackInfo>()
  readonly envs = new Map<string, EnvInfo>()
  readonly jobs = new Map<string, JobInfo>()
  readonly workers = new Map<string, WorkerInfo>()
  readonly #onEvent: (event: StateEvent) => void

  constructor(
    public host: HostInfo,
    onEvent: (event: StateEvent) => void,
  ) {
    this.#onEvent = onEvent
  }

  apply(change: Change): void {
    switch (change.kind) {
      case 'host':
        this.host = change.host
        break
      case 'pack':
        if (JSON.stringify(this.packs.get(change.pack.id)) === JSON.stringify(change.pack)) return
        this.packs.set(change.pack.id, change.pack)
        break
      case 'pack_gone':
        this.packs.delete(change.id)
        break
      case 'env':
        this.envs.set(change.env.id, change.env)
        break
      case 'env_gone':
        this.envs.delete(change.id)
        break
      case 'job':
        this.jobs.set(change.job.id, change.job)
        break
      case 'worker':
        this.workers.set(change.worker.id, change.worker)
        break
    }
    this.#onEvent({ ...change, seq: ++this.#seq } as StateEvent)
  }

  snapshot(): Snapshot {
    return {
      seq: this.#seq,
      host: this.host,
      packs: [...this.packs.values()],
      envs: [...this.envs.values()],
      jobs: [...this.jobs.values()].slice(-50),
      workers: [...this.workers.values()],
    }
  }
}
