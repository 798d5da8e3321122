import { isInPlace, type JobRequest } from '../../schemas/job'
import type { Engine } from '../engine'
import { buildEnv, type Reporter } from '../install/build'
import type { EnvStore } from '../install/envStore'
import { installInPlace } from '../install/inPlace'
import type { FullPlan } from '../install/plan'
import { inHostTurn } from '../install/hostTurn'

export const envOf = (request: JobRequest, envs: EnvStore): string => (request.action === 'repair' ? request.env : envs.idOf(request.pack))

async function plan(request: JobRequest, engine: Engine, reporter: Reporter, signal: AbortSignal): Promise<FullPlan> {
  reporter.phase('planning')
  if (request.action === 'repair') return engine.planFromLock(request.env)
  if (request.action === 'import') return engine.planFromFile(request.file)
  const { pack, dir, combination } = request
  const choice = { ...(combination !== undefined && { combination }), ...(isInPlace(request) && { inPlace: true }) }
  return engine.plan({ id: pack, dir }, choice, (text) => reporter.log(text), signal)
}

function tell({ plan: { add, change, remove, combination, warnings, kind } }: FullPlan, reporter: Reporter): void {
  warnings.forEach((text) => reporter.log(text, 'warn'))
  if (combination) reporter.log(`sealed: Python ${combination.python}, torch ${combination.torch}, ${combination.cuda ? `CUDA ${combination.cuda}` : 'for the CPU'}`)
  add.forEach(({ name, version }) => reporter.log(`+ ${name} ${version}`))
  change.forEach(({ name, from, to }) => reporter.log(`~ ${name} ${from} → ${to}`))
  remove.forEach(({ name, version }) => reporter.log(`- ${name} ${version}`))
  reporter.log(kind === 'host' ? 'ComfyUI’s torch: no change.' : 'ComfyUI’s own environment, torch included: no change.')
}

async function planAndTell(request: JobRequest, engine: Engine, reporter: Reporter, signal: AbortSignal): Promise<FullPlan> {
  const full = await plan(request, engine, reporter, signal)
  tell(full, reporter)
  return full
}

/** Does what a job is for, while nothing else changes the same environment. Whatever fails leaves everything as it was. */
export async function doJob(request: JobRequest, engine: Engine, reporter: Reporter, signal: AbortSignal): Promise<void> {
  const { settings, interpreter, hostSites, envs: store, uv, http } = engine
  const { home, cache } = settings
  const makePlan = (): Promise<FullPlan> => planAndTell(request, engine, reporter, signal)
  if (isInPlace(request)) {
    const [site = ''] = hostSites
    const onWait = (): void => reporter.log('waiting for another change of ComfyUI’s own environment')
    await inHostTurn({ home, site, signal, onWait, tell: (text) => reporter.log(text, 'warn') }, async () => installInPlace({ full: await makePlan(), home, cache, interpreter, site, uv, http, reporter, signal }))
    return
  }
  const packDir = request.action === 'install' ? request.dir : null
  await buildEnv({ env: envOf(request, store), packDir, plan: makePlan, interpreter, hostSites, store, uv, http, cache, reporter, signal })
}
