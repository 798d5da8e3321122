import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import type { JobInfo, JobState, LogLine } from '../../schemas/job'
import { BridgeError, toWire } from '../errors/bridgeError'
import { buildEnv, type Reporter } from '../install/build'
import { envIdOf } from '../install/envStore'
import { LogFile } from '../jobs/logFile'
import type { PackFolder } from '../packs/scan'
import type { Context } from './context'

export interface JobEvents {
  onLine: (job: string, line: LogLine) => void
  onEnded: (pack: PackFolder, job: JobInfo) => Promise<void>
}

interface Running {
  info: JobInfo
  log: LogFile
  abort: AbortController
}

/** Progress goes out at most this often. */
const PROGRESS_MS = 100

/** Install jobs: one at a time for each environment, each with a log on disk that panels follow. */
export class JobService {
  readonly #jobs = new Map<string, Running>()

  constructor(
    private readonly context: Context,
    private readonly events: JobEvents,
  ) {}

  /** Starts an install. A second click while one runs gets the running job: nothing is installed twice. */
  start(pack: PackFolder): string {
    const env = envIdOf(pack.id)
    const running = [...this.#jobs.values()].find(({ info }) => info.env === env && info.state.status === 'running')
    if (running) return running.info.id
    const id = `job-${Date.now().toString(36)}${randomBytes(3).toString('hex')}`
    const queued: JobState = { status: 'running', phase: 'queued', done: null, total: null, unit: null }
    const info: JobInfo = { id, pack: pack.id, env, state: queued, started: Date.now(), ended: null, lines: 0 }
    const path = join(this.context.engine.settings.home, 'jobs', `${id}.ndjson`)
    const job: Running = { info, log: new LogFile(path, (line) => this.events.onLine(id, line)), abort: new AbortController() }
    this.#jobs.set(id, job)
    this.#show(job)
    void this.#run(job, pack)
    return id
  }

  cancel(id: string): void {
    this.#find(id).abort.abort()
  }

  /** Cancels everything, and waits until nothing is left behind. */
  async cancelAll(): Promise<void> {
    this.#jobs.forEach(({ abort }) => abort.abort())
    while ([...this.#jobs.values()].some(({ info }) => info.state.status === 'running')) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  log(id: string): LogFile {
    return this.#find(id).log
  }

  #find(id: string): Running {
    const job = this.#jobs.get(id)
    if (!job) throw new BridgeError('UNKNOWN_JOB', `There is no job ${id}.`)
    return job
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

  async #run(job: Running, pack: PackFolder): Promise<void> {
    const reporter = this.#reporter(job)
    try {
      await this.#install(job, pack, reporter)
      reporter.log('Done.')
      this.#end(job, { status: 'done' })
    } catch (error) {
      const wire = toWire(error)
      const cancelled = wire.code === 'CANCELLED'
      reporter.log(cancelled ? 'Cancelled. Nothing was changed.' : `${wire.message} ${wire.hint}`, cancelled ? 'warn' : 'error')
      if (wire.code === 'INTERNAL' && error instanceof Error) reporter.log(error.stack ?? '', 'debug')
      this.#end(job, cancelled ? { status: 'cancelled' } : { status: 'failed', error: wire })
    }
    await job.log.close()
    await this.events.onEnded(pack, job.info)
  }

  async #install({ abort }: Running, pack: PackFolder, reporter: Reporter): Promise<void> {
    const { engine } = this.context
    reporter.phase('planning')
    const full = await engine.plan(pack, (text) => reporter.log(text), abort.signal)
    const { add, change, remove } = full.plan
    add.forEach(({ name, version }) => reporter.log(`+ ${name} ${version}`))
    change.forEach(({ name, from, to }) => reporter.log(`~ ${name} ${from} → ${to}`))
    remove.forEach(({ name, version }) => reporter.log(`- ${name} ${version}`))
    reporter.log('ComfyUI’s own environment, torch included: no change.')
    await buildEnv({
      pack: pack.id,
      full,
      interpreter: engine.interpreter,
      hostSites: engine.hostSites,
      store: engine.envs,
      uv: engine.uv,
      cache: engine.settings.cache,
      reporter,
      signal: abort.signal,
    })
  }

  #end(job: Running, state: JobState): void {
    job.info = { ...job.info, state, ended: Date.now() }
    this.#show(job)
  }
}
