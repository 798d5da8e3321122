import type { InstallPlan } from '../../schemas/env'
import type { JobInfo } from '../../schemas/job'
import type { Engine } from '../engine'
import { BridgeError } from '../errors/bridgeError'
import { packAt, type PackFolder } from '../packs/scan'
import { JobService } from '../serve/jobService'
import { Store } from '../state/store'
import { table, type Output } from './output'

function human(plan: InstallPlan): string {
  const bytes = plan.download_bytes === null ? 'unknown' : `${(plan.download_bytes / 1e6).toFixed(1)} MB`
  const rows = [
    ...plan.add.map(({ name, version }) => ['+', name, version]),
    ...plan.change.map(({ name, from, to }) => ['~', name, `${from} → ${to}`]),
    ...plan.remove.map(({ name, version }) => ['-', name, version]),
  ]
  return [`${plan.env} (${plan.kind}), download ${bytes}, torch changes: ${plan.torch_changes ? 'YES' : 'no'}`, table(rows)].join('\n')
}

/** Runs the install as a job, as the panel does, and waits for its end. */
function runJob(pack: PackFolder, engine: Engine, output: Output): Promise<{ job: JobInfo; log: string }> {
  return new Promise((resolve) => {
    const host = { one_line: '', comfyui: null, home: '', uv: null, writable: true, problems: [], fingerprint: engine.fingerprint }
    const store = new Store(host, () => undefined)
    const context = { engine, store, host: null, hostPacks: new Map(), isolated: new Set<string>() }
    const jobs = new JobService(context, {
      onLine: (_, line) => output.note(line.text),
      onEnded: async (_, job) => resolve({ job, log: `${engine.settings.home}/jobs/${job.id}.ndjson` }),
    })
    const id = jobs.start(pack)
    process.once('SIGINT', () => jobs.cancel(id))
    process.once('SIGTERM', () => jobs.cancel(id))
  })
}

/** `comfy-env install`: the plan, and unless --dry-run the job that carried it out. */
export async function installCommand(dir: string | undefined, env: string | undefined, dryRun: boolean, engine: Engine, output: Output): Promise<number> {
  const pack = await packAt(dir ?? '.')
  const { plan } = await engine.plan(pack, output.note)
  if (env !== undefined && env !== plan.env) {
    throw new BridgeError('BAD_USAGE', `The environment of ${pack.id} is called ${plan.env}, not ${env}.`)
  }
  if (dryRun) {
    output.result({ plan }, () => human(plan))
    return 0
  }
  const { job, log } = await runJob(pack, engine, output)
  if (job.state.status === 'failed') throw BridgeError.fromWire(job.state.error)
  if (job.state.status === 'cancelled') throw new BridgeError('CANCELLED', 'Cancelled.')
  output.result({ plan, job: { id: job.id, status: job.state.status, log } }, () => `${human(plan)}\nlog: ${log}`)
  return 0
}
