import { join } from 'node:path'
import { z } from 'zod'
import { JobRequest } from '../../schemas/job'
import { JobId } from '../../schemas/ids'
import { lockIn } from '../osLock'
import { updateState } from '../stateFile'

const Entry = z.strictObject({ id: JobId, request: JobRequest, started: z.number(), attempts: z.number().int() })
type Entry = z.infer<typeof Entry>
const QueueFile = z.strictObject({ schema: z.literal(1), jobs: z.array(Entry) })

/** A job that ended three bridges is not taken up a fourth time. */
const MOST_ATTEMPTS = 3

/** Unfinished jobs on disk (`jobs/queue.json`), in the order in which they were asked for. */
export class JobQueue {
  readonly #path: string
  readonly #lock: string
  /** Jobs of this process: they are under way already. */
  readonly #own = new Set<string>()
  #saving: Promise<void> = Promise.resolve()

  /** `onFault` hears what cannot be written: that loses the queue's memory, not the jobs. */
  constructor(
    home: string,
    private readonly onFault: (error: unknown) => void,
  ) {
    this.#path = join(home, 'jobs', 'queue.json')
    this.#lock = lockIn(home, 'queue.json')
  }

  add(entry: Entry): void {
    this.#own.add(entry.id)
    this.#save((jobs) => [...jobs, entry])
  }

  remove(id: string): void {
    this.#save((jobs) => jobs.filter((job) => job.id !== id))
  }

  /** What an earlier bridge left, counted as one more attempt. Throws FILE_UNREADABLE, FILE_UNWRITABLE or DISK_FULL. */
  async takeUp(): Promise<Entry[]> {
    const left: Entry[] = []
    await this.#change((jobs) => {
      const others = jobs.filter(({ id }) => !this.#own.has(id))
      left.push(...others.filter(({ attempts }) => attempts < MOST_ATTEMPTS).map(({ id, request, started, attempts }) => ({ id, request, started, attempts: attempts + 1 })))
      return [...left, ...jobs.filter(({ id }) => this.#own.has(id))]
    })
    left.forEach(({ id }) => this.#own.add(id))
    return left
  }

  /** Settles when everything is on disk. */
  settled(): Promise<void> {
    return this.#saving
  }

  async #change(change: (jobs: Entry[]) => Entry[]): Promise<void> {
    await updateState(this.#path, this.#lock, QueueFile, (before): z.infer<typeof QueueFile> => ({ schema: 1, jobs: change(before?.jobs ?? []) }))
  }

  #save(change: (jobs: Entry[]) => Entry[]): void {
    this.#saving = this.#saving.then(() => this.#change(change)).catch(this.onFault)
  }
}
