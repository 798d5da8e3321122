import { join } from 'node:path'
import type { JobInfo, JobRequest } from '../../schemas/job'
import type { Engine } from '../engine'
import { BridgeError } from '../errors/bridgeError'
import { newContext } from '../serve/context'
import { plainHost } from '../serve/hostInfo'
import { JobService } from '../serve/jobService'
import { Store } from '../state/store'
import { interruptSignal } from './interrupt'
import type { Output } from './output'

/** What a finished job says in JSON. */
export interface JobResult {
  id: string
  status: string
  log: string
}

/** Runs a job as the panel does, and waits for its end. Throws its error, or CANCELLED after Ctrl-C. */
export async function runJob(request: JobRequest, engine: Engine, output: Output): Promise<JobResult> {
  const context = await newContext(engine, new Store(plainHost(engine), () => undefined))
  const job = await new Promise<JobInfo>((resolve) => {
    const jobs = new JobService(context, { onLine: (_, line) => output.note(line.text), onEnded: async (ended) => (resolve(ended), null) }, false)
    const id = jobs.start(request)
    const signal = interruptSignal()
    signal.addEventListener('abort', () => jobs.cancel(id))
    if (signal.aborted) jobs.cancel(id)
  })
  if (job.state.status === 'failed') throw BridgeError.fromWire(job.state.error)
  if (job.state.status === 'cancelled') throw new BridgeError('CANCELLED', 'Cancelled.')
  return { id: job.id, status: job.state.status, log: join(engine.settings.home, 'jobs', `${job.id}.ndjson`) }
}
