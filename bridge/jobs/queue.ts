import { join } from 'node:path'
import { z } from 'zod'
import { JobRequest } from '../../schemas/job'
import { JobId } from '../../schemas/ids'
import { lockIn } from '../osLock'
import { isServing } from '../runFolder'
import { readState, updateState } from '../stateFile'

/** `owner`: the name of the bridge's run folder at which it is under way. */
const Entry = z.strictObject({ id: JobId, request: JobRequest, started: z.number(), attempts: z.number().int(), owner: z.string().optional() })
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

  /** `owner`: this bridge's run folder. `onFault` hears what cannot be written: that loses the queue's memory, not the jobs. */
  constructor(
    private readonly home: string,
    private readonly owner: string,
    private readonly onFault: (error: unknown) => void,
  ) {
    this.#path = join(home, 'jobs', 'queue.json')
    this.#lock = lockIn(home, 'queue.json')
  }

  add(entry: Omit<Entry, 'owner'>): void {
    this.#own.add(entry.id)
    this.#save((jobs) => [...jobs, { ...entry, owner: this.owner }])
  }

  remove(id: string): void {
    this.#save((jobs) => jobs.filter((job) => job.id !== id))
  }

  /** What bridges have left that live no more, counted as one more attempt. Throws FILE_UNREADABLE, FILE_UNWRITABLE or DISK_FULL. */
  async takeUp(): Promise<Entry[]> {
    const left: Entry[] = []
    const ended = await this.#endedOwners()
    await this.#change((jobs) => {
      const isUnderWay = ({ id, owner }: Entry): boolean => this.#own.has(id) || (owner !== undefined && !ended.has(owner))
      const others = jobs.filter((job) => !isUnderWay(job))
      left.push(...others.filter(({ attempts }) => attempts < MOST_ATTEMPTS).map(({ id, request, started, attempts }) => ({ id, request, started, attempts: attempts + 1, owner: this.owner })))
      return [...left, ...jobs.filter(isUnderWay)]
    })
    left.forEach(({ id }) => this.#own.add(id))
    return left
  }

  /** Settles when everything is on disk. */
  settled(): Promise<void> {
    return this.#saving
  }

  /** The bridges that have ended, of those that jobs name. Who has ended stays so; who begins meanwhile is not among them. */
  async #endedOwners(): Promise<Set<string>> {
    const jobs = (await readState(this.#path, QueueFile))?.value.jobs ?? []
    const ended = new Set<string>()
    for (const owner of new Set(jobs.map((job) => job.owner))) if (owner !== undefined && !(await isServing(this.home, owner))) ended.add(owner)
    return ended
  }

  async #change(change: (jobs: Entry[]) => Entry[]): Promise<void> {
    await updateState(this.#path, this.#lock, QueueFile, (before): z.infer<typeof QueueFile> => ({ schema: 1, jobs: change(before?.jobs ?? []) }))
  }

  #save(change: (jobs: Entry[]) => Entry[]): void {
    this.#saving = this.#saving.then(() => this.#change(change)).catch(this.onFault)
  }
}
