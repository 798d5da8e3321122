import { realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import { isInPlace, JobRequest } from '../../schemas/job'
import { JobId } from '../../schemas/ids'
import type { Engine } from '../engine'
import { BridgeError } from '../errors/bridgeError'
import { lockIn } from '../osLock'
import { hasEnded } from './logFile'
import { isServing } from '../runFolder'
import { readState, updateState } from '../stateFile'

/** Whose job it is: the ComfyUI, its folders, its Python's folder and where that has its packages. The same ones mean the same after a restart. */
const JobHost = z.strictObject({ comfyui: z.string().nullable(), base: z.string().nullable(), python: z.string(), site: z.string() })
export type JobHost = z.infer<typeof JobHost>

/** `owner`: the name of the bridge's run folder at which it is under way. `host` absent: an older version began it. */
const Entry = z.strictObject({ id: JobId, request: JobRequest, started: z.number(), attempts: z.number().int(), owner: z.string().optional(), host: JobHost.optional() })
type Entry = z.infer<typeof Entry>
const QueueFile = z.strictObject({ schema: z.literal(1), jobs: z.array(Entry) })

/** A job that ended three bridges is not taken up a fourth time. */
const MOST_ATTEMPTS = 3

const realOf = (path: string): Promise<string> => realpath(path).catch(() => path)

/** How a queue knows a ComfyUI: by what its paths lead to. */
export async function jobHost({ settings: { comfyui, base }, interpreter, hostSites: [site = ''] }: Pick<Engine, 'settings' | 'interpreter' | 'hostSites'>): Promise<JobHost> {
  return { comfyui: comfyui && (await realOf(comfyui)), base: base && (await realOf(base)), python: await realOf(dirname(interpreter)), site: await realOf(site) }
}

/** What ended bridges have left. */
interface Left {
  takenUp: Entry[]
  /** Out of the queue now, with the reason. */
  givenUp: { entry: Entry; reason: BridgeError }[]
  /** Those of other ComfyUIs, which stay for these. */
  elsewhere: Entry[]
}

/** Why a job is not taken up, and by nobody else; null: it is. */
function hopeless({ request, attempts, host }: Entry): BridgeError | null {
  const what = `The ${request.action} for ${request.pack}`
  if (attempts >= MOST_ATTEMPTS) return new BridgeError('INTERNAL', `${what} is given up: ${attempts} times, the bridge ended while it was under way.`, { hint: 'Start it again from the panel; if that ends so too, report it.' })
  if (host === undefined && isInPlace(request)) return new BridgeError('UNKNOWN_ENV', `${what} is given up: an older version began it, and did not note which ComfyUI’s own environment it goes into.`, { hint: 'Start it again from the panel.' })
  return null
}

/** Unfinished jobs on disk (`jobs/queue.json`), in the order in which they were asked for. */
export class JobQueue {
  readonly #path: string
  readonly #lock: string
  /** Jobs of this process: they are under way already. */
  readonly #own = new Set<string>()
  #saving: Promise<void> = Promise.resolve()

  /** `owner`: this bridge's run folder, `host`: its ComfyUI. `onFault` hears what cannot be written: that loses the queue's memory, not the jobs. */
  constructor(
    private readonly home: string,
    private readonly owner: string,
    private readonly host: Promise<JobHost>,
    private readonly onFault: (error: unknown) => void,
  ) {
    this.#path = join(home, 'jobs', 'queue.json')
    this.#lock = lockIn(home, 'queue.json')
  }

  add(entry: Omit<Entry, 'owner' | 'host'>): void {
    this.#own.add(entry.id)
    this.#save((jobs, host) => [...jobs, { ...entry, owner: this.owner, host }])
  }

  remove(id: string): void {
    this.#save((jobs) => jobs.filter((job) => job.id !== id))
  }

  /**
   * What bridges have left that live no more, but for jobs whose logs say that they have ended: a backup has put these back. Those of this ComfyUI are this bridge's from here on, counted as one more attempt; a job of another one would
   * go into another Python. Throws FILE_UNREADABLE, FILE_UNWRITABLE or DISK_FULL.
   */
  async takeUp(): Promise<Left> {
    const left: Left = { takenUp: [], givenUp: [], elsewhere: [] }
    const [ended, over] = [await this.#endedOwners(), await this.#over()]
    await this.#change((jobs, host) => {
      const isUnderWay = ({ id, owner }: Entry): boolean => this.#own.has(id) || (owner !== undefined && !ended.has(owner))
      for (const entry of jobs.filter((job) => !isUnderWay(job) && !over.has(job.id))) {
        const reason = hopeless(entry)
        if (entry.host !== undefined && !isDeepStrictEqual(entry.host, host)) left.elsewhere.push(entry)
        else if (reason !== null) left.givenUp.push({ entry, reason })
        else left.takenUp.push({ ...entry, attempts: entry.attempts + 1, owner: this.owner, host })
      }
      return [...left.takenUp, ...left.elsewhere, ...jobs.filter(isUnderWay)]
    })
    left.takenUp.forEach(({ id }) => this.#own.add(id))
    return left
  }

  /** Settles when everything is on disk. */
  settled(): Promise<void> {
    return this.#saving
  }

  async #over(): Promise<Set<string>> {
    const over = new Set<string>()
    for (const { id } of (await readState(this.#path, QueueFile))?.value.jobs ?? []) if (await hasEnded(join(this.home, 'jobs', `${id}.ndjson`))) over.add(id)
    return over
  }

  /** The bridges that have ended, of those that jobs name. Who has ended stays so; who begins meanwhile is not among them. */
  async #endedOwners(): Promise<Set<string>> {
    const jobs = (await readState(this.#path, QueueFile))?.value.jobs ?? []
    const ended = new Set<string>()
    for (const owner of new Set(jobs.map((job) => job.owner))) if (owner !== undefined && !(await isServing(this.home, owner))) ended.add(owner)
    return ended
  }

  async #change(change: (jobs: Entry[], host: JobHost) => Entry[]): Promise<void> {
    const host = await this.host
    await updateState(this.#path, this.#lock, QueueFile, (before): z.infer<typeof QueueFile> => ({ schema: 1, jobs: change(before?.jobs ?? [], host) }))
  }

  #save(change: (jobs: Entry[], host: JobHost) => Entry[]): void {
    this.#saving = this.#saving.then(() => this.#change(change)).catch(this.onFault)
  }
}
