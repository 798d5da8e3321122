import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { JobInfo, JobRequest, JobState, LogLine } from '../../schemas/job'
import { BridgeError, toWire } from '../errors/bridgeError'
import { buildEnv, type Reporter } from '../install/build'
import { envIdOf } from '../install/envStore'
import type { FullPlan } from '../install/plan'
import { LogFile } from '../jobs/logFile'
import { JobQueue } from '../jobs/queue'
import type { Context } from './context'

export interface JobEvents {
  onLine: (job: string, line: LogLine) => void
  onEnded: (job: JobInfo) => Promise<void>
}

interface Running {
  info: JobInfo
  request: JobRequest
  log: LogFile
  abort: AbortController
  /** The bridge ends and the job does not: it goes on when a bridge starts again. */
  suspended: boolean
}

/** Progress goes out at most this often. */
const PROGRESS_MS = 100

const envOf = (request: JobRequest): string => (request.action === 'repair' ? request.env : envIdOf(request.pack))

/** Jobs that change environments: one at a time for each, in order, each with a log on disk that panels follow. */
export class JobService {
  readonly #jobs = new Map<string, Running>()
  readonly #queue: JobQueue | null

  /** `persist`: unfinished jobs are kept on disk and go on after a restart. */
  constructor(
    private readonly context: Context,
    private readonly events: JobEvents,
    persist: boolean,
  ) {
    this.#queue = persist ? new JobQueue(context.engine.settings.home) : null
  }

  /** Takes up the jobs that an earlier bridge did not finish. */
  async resume(): Promise<void> {
    for (const { id, request, started } of (await this.#queue?.takeUp()) ?? []) this.#begin(id, request, started)
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

  cancel(id: string): void {
    this.#find(id).abort.abort()
  }

  /** Stops everything without giving it up, and waits until nothing is left behind. */
  async suspendAll(): Promise<void> {
    for (const job of this.#jobs.values()) {
      job.suspended = true
      job.abort.abort()
    }
    while ([...this.#jobs.values()].some(({ info }) => info.state.status === 'running')) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await this.#queue?.settled()
  }

  log(id: string): LogFile {
    return this.#find(id).log
  }

  #find(id: string): Running {
    const job = this.#jobs.get(id)
    if (!job) throw new BridgeError('UNKNOWN_JOB', `There is no job ${id}.`)
    return job
  }

  #begin(id: string, request: JobRequest, started: number): void {
    const queued: JobState = { status: 'running', phase: 'queued', done: null, total: null, unit: null }
    const info: JobInfo = { id, action: request.action, pack: request.pack, env: envOf(request), state: queued, started, ended: null, lines: 0 }
    const path = join(this.context.engine.settings.home, 'jobs', `${id}.ndjson`)
    const log = new LogFile(path, (line) => this.events.onLine(id, line))
    const job: Running = { info, request, log, abort: new AbortController(), suspended: false }
    this.#jobs.set(id, job)
    this.#show(job)
    void this.#run(job)
  }

  #show(job: Running): void {
    job.info = { ...job.info, lines: job.log.count }
    this.context.store.apply({ kind: 'job', job: job.info })
  }

  #reporter(job: Running): Reporter {
    let last = 0
    return {
      log: (text, level) => job.log.append(text, job.info.state.status === 'running' ? job.info.state.phase : 'end', level),
      phase: (phase, done, total, unit) => {
        const changed = job.info.state.status !== 'running' || job.info.state.phase !== phase
        const finished = done !== undefined && done === total
        if (!changed && !finished && Date.now() - last < PROGRESS_MS) return
        last = Date.now()
        const state: JobState = { status: 'running', phase, done: done ?? null, total: total ?? null, unit: unit ?? null }
        job.info = { ...job.info, state }
        if (changed) job.log.append(`— ${phase} —`, phase)
        this.#show(job)
      },
    }
  }

  async #run(job: Running): Promise<void> {
    const reporter = this.#reporter(job)
    try {
      await this.#build(job, reporter)
      reporter.log('Done.')
      this.#end(job, { status: 'done' })
    } catch (error) {
      const wire = toWire(error)
      const cancelled = wire.code === 'CANCELLED'
      const told = job.suspended ? 'Stopped. It goes on when ComfyUI starts again.' : 'Cancelled. Nothing was changed.'
      reporter.log(cancelled ? told : `${wire.message} ${wire.hint}`, cancelled ? 'warn' : 'error')
      if (wire.code === 'INTERNAL' && error instanceof Error) reporter.log(error.stack ?? '', 'debug')
      this.#end(job, cancelled ? { status: 'cancelled' } : { status: 'failed', error: wire })
    }
    await job.log.close()
    await this.events.onEnded(job.info)
  }

  async #plan(job: Running, reporter: Reporter): Promise<FullPlan> {
    const { engine } = this.context
    const { request, abort } = job
    reporter.phase('planning')
    if (request.action === 'repair') return engine.planFromLock(request.env)
    if (request.action === 'import') return engine.planFromFile(request.file)
    const { pack, dir, combination } = request
    return engine.plan({ id: pack, dir }, combination === undefined ? {} : { combination }, (text) => reporter.log(text), abort.signal)
  }

  async #build(job: Running, reporter: Reporter): Promise<void> {
    const { engine } = this.context
    const { request } = job
    await buildEnv({
      env: envOf(request),
      packDir: request.action === 'install' ? request.dir : null,
      plan: async () => {
        const full = await this.#plan(job, reporter)
        tell(full, reporter)
        return full
      },
      interpreter: engine.interpreter,
      hostSites: engine.hostSites,
      store: engine.envs,
      uv: engine.uv,
      http: engine.http,
      cache: engine.settings.cache,
      reporter,
      signal: job.abort.signal,
    })
  }

  #end(job: Running, state: JobState): void {
    if (!job.suspended || state.status === 'done') this.#queue?.remove(job.info.id)
    job.info = { ...job.info, state, ended: Date.now() }
    this.#show(job)
  }
}

function tell({ plan }: FullPlan, reporter: Reporter): void {
  const { add, change, remove, combination, warnings } = plan
  warnings.forEach((text) => reporter.log(text, 'warn'))
  if (combination) reporter.log(`sealed: Python ${combination.python}, torch ${combination.torch}, ${combination.cuda ? `CUDA ${combination.cuda}` : 'for the CPU'}`)
  add.forEach(({ name, version }) => reporter.log(`+ ${name} ${version}`))
  change.forEach(({ name, from, to }) => reporter.log(`~ ${name} ${from} → ${to}`))
  remove.forEach(({ name, version }) => reporter.log(`- ${name} ${version}`))
  reporter.log('ComfyUI’s own environment, torch included: no change.')
}
