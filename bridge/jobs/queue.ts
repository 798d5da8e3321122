import { join } from 'node:path'
import { z } from 'zod'
import { JobRequest } from '../../schemas/job'
import { JobId } from '../../schemas/ids'
import { readJson, writeAtomic } from '../files'

const Entry = z.strictObject({ id: JobId, request: JobRequest, started: z.number(), attempts: z.number().int() })
type Entry = z.infer<typeof Entry>
const QueueFile = z.strictObject({ schema: z.literal(1), jobs: z.array(Entry) })

/** A job that ended three bridges is not taken up a fourth time. */
const MOST_ATTEMPTS = 3

/** Unfinished jobs on disk (`jobs/queue.json`), in the order in which they were asked for. */
export class JobQueue {
  readonly #path: string
  #jobs: Entry[] = []
  #saving: Promise<void> = Promise.resolve()

  constructor(home: string) {
    this.#path = join(home, 'jobs', 'queue.json')
  }

  add(entry: Entry): void {
    this.#jobs.push(entry)
    this.#save()
  }

  remove(id: string): void {
    this.#jobs = this.#jobs.filter((job) => job.id !== id)
    this.#save()
  }

  /** What an earlier bridge left, counted as one more attempt. */
  async takeUp(): Promise<Entry[]> {
    const left = (await readJson(this.#path, QueueFile))?.jobs ?? []
    this.#jobs = left.filter(({ attempts }) => attempts < MOST_ATTEMPTS).map(({ id, request, started, attempts }) => ({ id, request, started, attempts: attempts + 1 }))
    if (left.length > 0) this.#save()
    await this.settled()
    return this.#jobs
  }

  /** Settles when everything is on disk. */
  settled(): Promise<void> {
    return this.#saving
  }

  #save(): void {
    const text = (): string => JSON.stringify({ schema: 1, jobs: this.#jobs })
    // a full disk loses the queue's memory, not the jobs
    this.#saving = this.#saving.then(() => writeAtomic(this.#path, text())).catch(() => undefined)
  }
}
