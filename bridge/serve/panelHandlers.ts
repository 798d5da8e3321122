import type { z } from 'zod'
import type { Snapshot } from '../../schemas/panelLink'
import { panelToBridge } from '../../schemas/panelLink'
import { runChecks } from '../doctor'
import { BridgeError } from '../errors/bridgeError'
import { cleanUp } from '../install/cleanup'
import type { Waiting } from '../osLock'
import type { Handlers } from '../rpc/peer'
import { showProblem } from './background'
import { packFolder, usesWorker, type Context } from './context'
import { hostChanges, restoreHost } from './hostChanges'
import type { IsolationService } from './isolationService'
import type { JobService } from './jobService'
import type { PackService } from './packService'
import { hide, ownNames, reportText } from './report'
import { answerRenamed, forgetPack } from './renamedPack'
import { changeSettings } from './settingsService'
import type { WorkerService } from './workerService'

export interface PanelServices {
  context: Context
  packs: PackService
  jobs: JobService
  workers: WorkerService
  isolation: IsolationService
}

type Served = Handlers<typeof panelToBridge>
type Params<M extends keyof (typeof panelToBridge)['requests']> = z.output<(typeof panelToBridge)['requests'][M]['params']>

const REPORT_LINES = 200

async function envNamed({ engine }: Context, env: string) {
  const record = await engine.envs.find(env)
  if (!record) throw new BridgeError('UNKNOWN_ENV', `There is no environment ${env}.`)
  return record
}

/** A panel's request does not wait for a job of minutes: it says what is under way. */
const busy = (what: string): Waiting => ({
  onWait: () => {
    throw new BridgeError('ENV_BUSY', `${what} is being changed.`)
  },
})

/** Throws ENV_BUSY while a job of an env runs or waits to run. */
function refuseBusy({ store }: Context, env: string): void {
  const job = [...store.jobs.values()].find((one) => one.env === env && !one.in_place && one.state.status === 'running')
  if (job) throw new BridgeError('ENV_BUSY', `${env} is being changed (${job.action}, ${job.id}).`)
}

function installing({ context, packs, jobs, isolation }: PanelServices) {
  const choiceOf = ({ combination, in_place }: Params<'install.preview'>) => ({ ...(combination !== undefined && { combination }), ...(in_place && { inPlace: true }) })
  return {
    'install.preview': async (params: Params<'install.preview'>) =>
      (await context.engine.plan(await packFolder(context, params.pack), choiceOf(params), () => undefined)).plan,
    'install.find': async ({ pack }: Params<'install.find'>) => ({ offers: await context.engine.find(await packFolder(context, pack)) }),
    'install.start': async ({ pack, combination, in_place, isolate, after }: Params<'install.start'>) => {
      const latest = context.store.snapshot().jobs.findLast((job) => job.pack === pack)?.id
      if (latest !== undefined && after !== undefined && after !== latest) return { job: latest } // another tab was quicker
      const { dir } = await packFolder(context, pack)
      packs.setFailure(pack, null)
      packs.setInstalling(pack)
      const more = { ...(combination !== undefined && { combination }), ...(in_place && { in_place }), ...(isolate && { isolate }) }
      return { job: jobs.start({ action: 'install', pack, dir, ...more }) }
    },
    'install.undo': async ({ env }: Params<'install.undo'>) => {
      const { pack } = await envNamed(context, env)
      refuseBusy(context, env)
      await isolation.renew(pack, async () => {
        await context.engine.envs.undo(env, busy(env))
        await packs.rescan()
      })
      return {}
    },
    'job.cancel': ({ job }: Params<'job.cancel'>) => (jobs.cancel(job), {}),
    'job.retry': ({ job }: Params<'job.retry'>) => {
      const { pack } = jobs.request(job)
      packs.setFailure(pack, null)
      packs.setInstalling(pack)
      return { job: jobs.retry(job) }
    },
  }
}

function environments({ context, packs, jobs, workers }: PanelServices) {
  const { engine } = context
  return {
    'env.repair': async ({ env }: Params<'env.repair'>) => ({ job: jobs.start({ action: 'repair', pack: (await envNamed(context, env)).pack, env }) }),
    'env.delete': async ({ env }: Params<'env.delete'>) => {
      const { pack } = await envNamed(context, env)
      // of a pack that is not there nothing can be switched off
      const isThere = (context.store.packs.get(pack)?.state ?? 'gone') !== 'gone'
      if (usesWorker(context, pack) && isThere) {
        throw new BridgeError('ENV_BUSY', `${pack} runs isolated in ${env}.`, { hint: 'Switch its isolation off first.' })
      }
      refuseBusy(context, env)
      await workers.retire(pack)
      await engine.envs.remove(env, busy(env))
      await packs.rescan()
      return {}
    },
    'host.restore': async ({ change }: Params<'host.restore'>) => {
      const { snapshot } = await restoreHost(engine, change, busy('ComfyUI’s own environment'), (text) => showProblem(context, text))
      packs.needRestart(`ComfyUI’s own environment was put back to what it was before ${snapshot.pack}.`)
      await packs.rescan()
      return {}
    },
    'space.free': async () => {
      const items = await cleanUp(engine.envs, engine.settings.cache, engine.uv, true, busy).finally(() => packs.rescan())
      return { items }
    },
  }
}

function changingWhatRuns(services: PanelServices) {
  const { context, isolation, workers } = services
  return {
    'isolation.set': async ({ pack, class: name, on }: Params<'isolation.set'>) => {
      if (name !== undefined) await isolation.setClass(pack, name, on)
      else if (on === null) throw new BridgeError('BAD_REQUEST', 'isolation.set: a pack is on or off.')
      else await isolation.set(pack, on)
      return {}
    },
    'pack.forget': async ({ pack }: Params<'pack.forget'>) => (await forgetPack(services, pack), {}),
    'pack.renamed': async ({ pack, same }: Params<'pack.renamed'>) => (await answerRenamed(services, pack, same), {}),
    'worker.stop': async ({ worker }: Params<'worker.stop'>) => (await workers.find(worker).stop(), {}),
    'worker.restart': async ({ worker }: Params<'worker.restart'>) => (await workers.restart(worker), {}),
    'settings.set': async (changed: Params<'settings.set'>) => (await changeSettings(context, changed), workers.settingsChanged(), {}),
  }
}

async function makeReport({ context, packs, jobs, workers }: PanelServices, snapshot: Snapshot) {
  const checks = await check(context, packs)
  const failed = snapshot.jobs.filter(({ state }) => state.status === 'failed').slice(-3).map(({ id }) => [id, jobs.log(id).tail(REPORT_LINES)] as const)
  const crashed = snapshot.workers.filter(({ state }) => state.status === 'crashed').map(({ id }) => [id, workers.log(id).tail(REPORT_LINES)] as const)
  return { parts: hide(reportText(snapshot, checks, new Map([...failed, ...crashed, ['the bridge', context.journal.tail(REPORT_LINES)] as const])), ownNames()) }
}

/** Runs every check; what they say of environments becomes their state. */
async function check({ engine }: Context, packs: PackService) {
  const checks = await runChecks(engine)
  const damaged = checks.filter(({ id, status }) => id.startsWith('env:') && status === 'fail').map(({ id, message }) => [id.slice('env:'.length), message] as const)
  await packs.setDamaged(new Map(damaged))
  return checks
}

/** What a panel may ask. `writable` false: it may look and not change. */
export function panelHandlers(services: PanelServices, writable: boolean): Served {
  const { context, packs, jobs, workers, isolation } = services
  const { engine } = context
  const snapshot = (): Snapshot => {
    const state = context.store.snapshot()
    return { ...state, host: { ...state.host, writable } }
  }
  const changing = <H extends object>(handlers: H): H => {
    if (writable) return handlers
    const refuse = (): never => {
      throw new BridgeError('FORBIDDEN', 'ComfyUI listens beyond this computer, so the panel may look and not change.', {
        hint: `To allow it, create the file ${engine.settings.home}/allow-remote and restart ComfyUI.`,
      })
    }
    return Object.fromEntries(Object.keys(handlers).map((name) => [name, refuse])) as H
  }
  return {
    'state.snapshot': snapshot,
    'pack.nodes': ({ pack }) => isolation.nodes(pack),
    'host.changes': async () => ({ changes: await hostChanges(engine) }),
    'log.read': ({ log: id, after, before }) => {
      const log = id.startsWith('job-') ? jobs.log(id) : workers.log(id)
      return after === undefined ? log.readBefore(before ?? null) : log.read(after)
    },
    'doctor.run': async () => ({ checks: await check(context, packs) }),
    'report.make': () => makeReport(services, snapshot()),
    'space.look': async () => ({ items: await cleanUp(engine.envs, engine.settings.cache, engine.uv, false, busy) }),
    ...changing({ 'packs.rescan': async () => (await packs.rescan(), {}), ...installing(services), ...environments(services), ...changingWhatRuns(services) }),
  }
}
