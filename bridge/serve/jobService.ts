import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { isInPlace, type JobInfo, type JobPhase, type JobRequest, type JobState, type LogLine } from '../../schemas/job'
import { BridgeError, toWire } from '../errors/bridgeError'
import type { Reporter } from '../install/build'
import { LogFile } from '../jobs/logFile'
import { jobHost, JobQueue } from '../jobs/queue'
import { background, showProblem } from './background'
import type { Context } from './context'
import { doJob, envOf } from './jobWork'

export interface JobEvents {
  onLine: (job: string, line: LogLine) => void
  /** What follows from a job's end. Returns what of that could not be done; null: all was. */
  onEnded: (job: JobInfo, request: JobRequest) => Promise<string | null>
}

interface Job {
  info: JobInfo
  request: JobRequest
  log: LogFile
  abort: AbortController
  /** The bridge ends and the job does not: it goes on when a bridge starts again. */
  suspended: boolean
  /** Number of its first log line that is an error. */
  firstError: number | null
}

/** Whether its pack is to be isolated once it is installed: a bridge that is killed before that has not done all of it. */
const hasSwitch = ({ info, request }: Job): boolean => info.state.status === 'done' && request.action === 'install' && request.isolate === true

/** Progress goes out at most this often. */
const PROGRESS_MS = 100
/** So many jobs run beside each other; the others wait in order. More would only share one disk and one network. */
const MOST_AT_ONCE = 2

/** Jobs that change environments: one at a time for each, in order, each with a log on disk that panels follow. */
export class JobService {
  readonly #jobs = new Map<string, Job>()
  readonly #running = new Set<Job>()
  readonly #waiting: Job[] = []
  readonly #queue: JobQueue | null

  /** `persist`: unfinished jobs are kept on disk and go on after a restart. */
  constructor(
    private readonly context: Context,
    private readonly events: JobEvents,
    persist: boolean,
  ) {
    this.#queue = persist ? new JobQueue(context.engine.settings.home, context.run.name, jobHost(context.engine), (error) => this.#unsaved(error)) : null
  }

  /** Takes up the jobs that an earlier bridge did not finish. Throws FILE_UNREADABLE, FILE_UNWRITABLE or DISK_FULL. */
  async resume(): Promise<void> {
    if (!this.#queue) return
    const { takenUp, givenUp, elsewhere } = await this.#queue.takeUp()
    for (const { id, request, started } of takenUp) this.#begin(id, request, started)
    for (const { entry, reason } of givenUp) {
      const job = this.#add(entry.id, entry.request, entry.started)
      this.#background(job, this.#finish(job, reason))
    }
    for (const { request, host } of elsewhere) {
      showProblem(this.context, `The ${request.action} for ${request.pack} was broken off, and goes on when its ComfyUI starts again: ${host?.base ?? host?.python}.`)
    }
  }

  #unsaved(error: unknown): void {
    showProblem(this.context, `Installs that are under way will not go on after a restart: ${toWire(error).message}`)
  }

  /** Starts a job. The same click again, while it waits or runs, gets the same job: nothing is installed twice. */
  start(request: JobRequest): string {
    const same = [...this.#jobs.values()].find((job) => job.info.state.status === 'running' && JSON.stringify(job.request) === JSON.stringify(request))
    if (same) return same.info.id
    const id = `job-${Date.now().toString(36)}${randomBytes(3).toString('hex')}`
    const started = Date.now()
    this.#queue?.add({ id, request, started, attempts: 1 })
    this.#begin(id, request, started)
    return id
  }

  /** Does an ended job again. */
  retry(id: string): string {
    return this.start(this.#find(id).request)
  }

  request(id: string): JobRequest {
    return this.#find(id).request
  }

  cancel(id: string): void {
    this.#abort(this.#find(id))
  }

  /** Stops everything without giving it up, and waits until nothing is left behind. */
  async suspendAll(): Promise<void> {
    for (const job of this.#jobs.values()) {
      job.suspended = true
      this.#abort(job)
    }
    while ([...this.#jobs.values()].some(({ info }) => info.state.status === 'running')) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await this.#queue?.settled()
  }

  log(id: string): LogFile {
    return this.#find(id).log
  }

  #find(id: string): Job {
    const job = this.#jobs.get(id)
    if (!job) throw new BridgeError('UNKNOWN_JOB', `There is no job ${id}.`)
    return job
  }

  #abort(job: Job): void {
    job.abort.abort()
    const place = this.#waiting.indexOf(job)
    if (place < 0) return
    this.#waiting.splice(place, 1)
    this.#background(job, this.#finish(job, new BridgeError('CANCELLED', 'Cancelled.')))
    this.#showPlaces()
  }

  #begin(id: string, request: JobRequest, started: number): void {
    this.#waiting.push(this.#add(id, request, started))
    this.#next()
  }

  #add(id: string, request: JobRequest, started: number): Job {
    const queued: JobState = { status: 'running', phase: 'queued', done: null, total: null, unit: null }
    const place = { position: null, in_place: isInPlace(request) }
    const info: JobInfo = { id, action: request.action, pack: request.pack, env: envOf(request, this.context.engine.envs), state: queued, started, ended: null, lines: 0, ...place }
    const path = join(this.context.engine.settings.home, 'jobs', `${id}.ndjson`)
    const job: Job = { info, request, log: new LogFile(path, (line) => this.#told(job, line)), abort: new AbortController(), suspended: false, firstError: null }
    this.#jobs.set(id, job)
    return job
  }

  #told(job: Job, line: LogLine): void {
    if (line.level === 'error') job.firstError ??= line.seq
    this.events.onLine(job.info.id, line)
  }

  /** Starts what may start, and says of the others where they stand. */
  #next(): void {
    while (this.#running.size < MOST_AT_ONCE) {
      const job = this.#waiting.shift()
      if (!job) break
      this.#running.add(job)
      job.info = { ...job.info, position: null }
      this.#show(job)
      this.#background(job, this.#run(job))
    }
    this.#showPlaces()
  }

  #showPlaces(): void {
    for (const [index, job] of this.#waiting.entries()) {
      if (job.info.position === index + 1) continue
      job.info = { ...job.info, position: index + 1 }
      this.#show(job)
    }
  }

  #show(job: Job): void {
    job.info = { ...job.info, lines: job.log.count }
    this.context.store.apply({ kind: 'job', job: job.info })
  }

  #phase({ info }: Job): JobPhase {
    return info.state.status === 'running' ? info.state.phase : 'queued'
  }

  #reporter(job: Job): Reporter {
    let last = 0
    let later: NodeJS.Timeout | null = null
    const show = (): void => {
      if (later) clearTimeout(later)
      later = null
      last = Date.now()
      if (job.info.state.status === 'running') this.#show(job)
    }
    return {
      log: (text, level) => job.log.append(text, this.#phase(job), level),
      phase: (phase, done, total, unit) => {
        const changed = this.#phase(job) !== phase
        const finished = done !== undefined && done === total
        const state: JobState = { status: 'running', phase, done: done ?? null, total: total ?? null, unit: unit ?? null }
        job.info = { ...job.info, state }
        if (changed) job.log.append(`— ${phase} —`, phase)
        if (changed || finished || Date.now() - last >= PROGRESS_MS) show()
        else later ??= setTimeout(show, PROGRESS_MS).unref() // the last step of a download that stalls is shown as well
      },
    }
  }

  async #run(job: Job): Promise<void> {
    const reporter = this.#reporter(job)
    const failed = await doJob(job.request, this.context.engine, reporter, job.abort.signal).then(() => null, (error: unknown) => ({ error }))
    if (failed === null) reporter.log('Done.')
    try {
      await this.#finish(job, failed?.error)
    } finally {
      this.#running.delete(job)
      this.#next()
    }
  }

  /** Whatever its end could not do, the jobs behind it go on. */
  #background({ info }: Job, work: Promise<void>): void {
    background(this.context, `What follows from the end of ${info.id} is not done`, work)
  }

  /** Writes a job's end into its log and its state. `error` undefined: it is done. */
  async #finish(job: Job, error: unknown): Promise<void> {
    const phase = this.#phase(job)
    if (error === undefined) this.#end(job, { status: 'done' })
    else {
      const wire = toWire(error)
      const cancelled = wire.code === 'CANCELLED'
      const told = job.suspended ? 'Stopped. It goes on when ComfyUI starts again.' : 'Cancelled. Nothing was changed.'
      job.log.append(cancelled ? told : `${wire.message} ${wire.hint}`, phase, cancelled ? 'warn' : 'error')
      if (wire.code === 'INTERNAL' && error instanceof Error) job.log.append(error.stack ?? '', phase, 'debug')
      this.#end(job, cancelled ? { status: 'cancelled' } : { status: 'failed', error: wire, phase, line: job.firstError })
    }
    await job.log.close()
    const undone = await this.events.onEnded(job.info, job.request)
    if (undone !== null) await this.#sayUndone(job, undone)
    if (hasSwitch(job) && (undone === null || !job.suspended)) this.#leaveQueue(job)
    await job.log.close()
  }

  async #sayUndone(job: Job, undone: string): Promise<void> {
    showProblem(this.context, undone)
    job.log.append(undone, 'switching', 'error')
    await job.log.close()
    this.#show(job)
  }

  #end(job: Job, state: JobState): void {
    job.info = { ...job.info, state, ended: Date.now(), position: null }
    if ((!job.suspended || state.status === 'done') && !hasSwitch(job)) this.#leaveQueue(job)
    this.#show(job)
  }

  /** All of it is done, or given up: no bridge takes it up again, also not from a queue that a backup puts back. */
  #leaveQueue({ info, log }: Job): void {
    if (!this.#queue) return
    log.markEnd()
    this.#queue.remove(info.id)
  }
}
