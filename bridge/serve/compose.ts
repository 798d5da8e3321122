import { isDeepStrictEqual } from 'node:util'
import { PROTOCOL_VERSION } from '../../schemas/envelope'
import type { JobInfo, JobRequest } from '../../schemas/job'
import type { shimToBridge } from '../../schemas/shimLink'
import type { Engine } from '../engine'
import { toWire } from '../errors/bridgeError'
import { whyUnwritable } from '../files'
import { newToken, writeConnectionFile } from '../rpc/connectionFile'
import type { Handlers } from '../rpc/peer'
import { type RunFolder, socketPath, takeRunFolder } from '../runFolder'
import { listen, serveText } from '../rpc/server'
import { Store } from '../state/store'
import { sweepHome } from '../sweep'
import { findBwrap } from '../workers/sandbox'
import { makeSegmentsFolder } from '../workers/segmentsFolder'
import { background } from './background'
import { CallLinks } from './callLink'
import { newContext, packFolder, type Context } from './context'
import { hostInfo, plainHost } from './hostInfo'
import { IsolationService } from './isolationService'
import { catchTheRest } from './lastResort'
import { JobService } from './jobService'
import { metricsText } from './metrics'
import { PackService } from './packService'
import { PanelLinks } from './panelLinks'
import { SharedFiles } from './sharedFiles'
import { ShimLink, type ShimEvents } from './shimLink'
import { sweepWorkerLogs } from './workerLogs'
import { WorkerService } from './workerService'

export interface Bridge {
  port: number
  protocol: number
  /** The folder of its connection file. */
  run: string
  /** Ends jobs and workers, and removes its run folder. `abandoned`: ComfyUI has gone, so workers are not asked first. */
  close: (abandoned: boolean) => Promise<void>
}

interface ShimServices {
  /** The browser's node classes are to be read anew. */
  exchanged: (pack: string) => void
  context: Context
  store: Store
  packs: PackService
  workers: WorkerService
  load: IsolationService['load']
  loadForHost: IsolationService['loadForHost']
}

/** What ComfyUI may ask and tell. */
function shimHandlers({ context, store, packs, workers, exchanged, load, loadForHost }: ShimServices): Omit<Handlers<typeof shimToBridge>, 'link.check'> {
  return {
    'host.report': async (report) => {
      const before = context.host?.folders
      context.host = report
      context.problems.push(...report.problems.filter((one) => !context.problems.includes(one)))
      if (before && !isDeepStrictEqual(before, report.folders)) workers.foldersChanged(report.folders)
      const { checked, restart_needed } = store.host
      store.apply({ kind: 'host', host: { ...(await hostInfo(context.engine, report.version, context.problems)), checked, restart_needed } })
      background(context, 'The node packs could not be looked at', packs.rescan())
      // before it has started so far, a worker would not know on which GPU it is
      const warm = report.folders.started ? context.engine.settings.workers.keepWarm : []
      for (const pack of warm) if (context.isolated.has(pack)) background(context, `${pack} is not kept warm`, load(pack))
      return {}
    },
    'host.packs': ({ packs: told }) => {
      told.forEach((pack) => context.hostPacks.set(pack.id, pack))
      background(context, 'The node packs could not be looked at', packs.rescan())
      return {}
    },
    'pack.load': ({ pack }) => loadForHost(pack),
    'pack.describe': async ({ pack }) => (await workers.side(pack))?.request('pack.describe', { pack }) ?? null,
    'prompt.handle': async ({ pack, prompt }) => {
      await load(pack)
      return (await workers.side(pack))?.request('prompt.handle', { pack, prompt }) ?? { prompt }
    },
    'handle.release': ({ owner, handles }) => workers.releaseHandles(owner, handles),
    'instance.release': (params) => workers.tellAll('instance.release', params),
    'pack.exchanged': ({ pack }) => {
      context.hostPacks.set(pack.id, pack)
      if (pack.proxied && context.isolated.has(pack.id)) packs.setIsolation(pack.id, { state: 'on' }) // also where its first load had failed
      exchanged(pack.id)
      background(context, 'The node packs could not be looked at', packs.rescan())
    },
    'prompt.ended': (params) => workers.tellAll('prompt.ended', params),
    'models.unload': () => workers.unloadModels(),
  }
}

function shimEvents(context: Context, owners: () => string[]): ShimEvents {
  const { store, journal } = context
  return {
    onGone: () => {
      context.host = null
      store.apply({ kind: 'host', host: { ...store.host, comfyui: null } })
    },
    owners,
    onFault: (method, error) => journal.write('bridge', { pid: process.pid, status: `${method}: ${toWire(error).message}` }),
  }
}

/** What follows from the end of a job: the pack's new state, its workers on the new environment, isolation if that was asked for with it. Returns what of the last could not be done. */
async function jobEnded({ context, packs, isolation }: Pick<ShimServices, 'context' | 'packs'> & { isolation: IsolationService }, { pack, state, in_place, env }: JobInfo, request: JobRequest): Promise<string | null> {
  packs.setFailure(pack, state.status === 'failed' ? state.error.message : null)
  if (state.status === 'done') packs.setSound(env)
  await packs.refreshEnvs()
  const isolate = state.status === 'done' && request.action === 'install' && request.isolate === true
  const unswitched = (error: unknown): string => `${pack} is installed, and its isolation could not be switched on: ${toWire(error).message}`
  const folder = await packFolder(context, pack).catch(unswitched) // the pack itself may have gone meanwhile
  if (typeof folder === 'string') return isolate ? folder : null
  if (state.status === 'done' && in_place) packs.needRestart(`ComfyUI’s own environment was changed for ${pack}.`)
  // what becomes of it is shown as the pack's isolation
  if (state.status === 'done' && !in_place) await isolation.renew(pack).catch(() => undefined)
  await packs.refresh(folder)
  if (!isolate || context.isolated.has(pack)) return null
  return isolation.set(pack, true).then(() => null, unswitched)
}

/** Serves metrics if the user wants them; a port that is taken is a problem to show, and none that keeps the bridge from running. */
async function serveMetrics({ engine: { settings }, store, problems }: Context): Promise<(() => Promise<void>) | null> {
  if (settings.metricsPort === null) return null
  return serveText(settings.metricsPort, () => metricsText(store.snapshot())).catch((error: unknown) => {
    problems.push(`No metrics: ${toWire(error).message}`)
    return null
  })
}

/** Sandboxed processes cannot open each other's anonymous memory: where there are any, all memory has names. */
async function segmentsFolder({ settings }: Engine, run: string): Promise<string | null> {
  return settings.sandbox.packs.length > 0 && findBwrap() !== null ? makeSegmentsFolder(run) : null
}

/** What keeps a home's leftovers, and what cannot be done where nothing can be written. Both keep nothing from running. */
async function homeProblems({ settings: { home }, envs }: Engine): Promise<string[]> {
  const why = await whyUnwritable(home)
  if (why !== null) return [`Nothing can be installed or switched, and no log is kept: ${why} What is isolated runs.`]
  return envs.sweep().then(() => [], (error: unknown) => [`What ended installs have left is not removed: ${toWire(error).message}`])
}

/** Starts a bridge, beside others of the same home if there are any. */
export async function startBridge(engine: Engine, port: number): Promise<Bridge> {
  const run = await takeRunFolder(engine.settings.home)
  try {
    const bridge = await compose(engine, run, port)
    return { ...bridge, close: (abandoned) => bridge.close(abandoned).finally(run.leave) }
  } catch (error) {
    await run.leave()
    throw error
  }
}

/** Builds the bridge out of its parts. Holds no logic of its own. */
async function compose(engine: Engine, run: RunFolder, port: number): Promise<Bridge> {
  const { home, cache } = engine.settings
  await sweepHome(home, cache)
  await sweepWorkerLogs(home)
  const troubles = await homeProblems(engine)
  const store = new Store(plainHost(engine), (event) => {
    context.journal.changed(event)
    panels.tell(event)
  })
  const segments = await segmentsFolder(engine, run.path)
  const context: Context = await newContext(engine, store, run, segments)
  context.problems.push(...troubles)
  catchTheRest(context)
  const packs = new PackService(context, (pack) => background(context, `${pack} has no nodes yet`, isolation.comeBack(pack)))
  const jobs = new JobService(context, {
    onLine: (job, line) => panels.line(job, line),
    onEnded: (job, request) => jobEnded({ context, packs, isolation }, job, request),
  }, true)
  const workers = new WorkerService(context, {
    onLine: (worker, line) => panels.line(worker, line),
    onLoaded: (loaded) => {
      background(context, `What ${loaded.pack} offers is not kept for ComfyUI’s next start`, isolation.keep(loaded))
      shim.peer?.notify('pack.loaded', { loaded })
    },
    onGone: (worker, owner, ids) => shim.tell('worker.gone', { worker, owner, packs: ids }),
    onBroken: (pack) => background(context, `${pack} is not looked at again`, packs.recheck(pack)),
    onReleased: (leases) => calls.release(leases),
    watched: () => panels.watched || engine.settings.metricsPort !== null,
    notes: {
      'host.event': (event) => shim.peer?.notify('host.event', event),
      'lease.release': ({ leases }) => workers.releaseLeases(leases),
    },
  })
  const shim: ShimLink = new ShimLink(
    shimHandlers({ context, store, packs, workers, exchanged: (pack) => panels.nodesChanged(pack), load: (pack) => isolation.load(pack), loadForHost: (pack) => isolation.loadForHost(pack) }),
    shimEvents(context, () => workers.owners),
  )
  const calls = new CallLinks(context, workers, (leases) => shim.tell('lease.release', { leases }))
  const isolation: IsolationService = new IsolationService(context, packs, workers, shim, (pack) => panels.nodesChanged(pack))
  const panels: PanelLinks = new PanelLinks({ context, packs, jobs, workers, isolation })
  const shared = new SharedFiles(context, packs, isolation, () => workers.settingsChanged())
  const token = newToken()
  const socket = socketPath(run.path, 'calls.sock')
  const server = await listen(port, socket, token, {
    messages: (link) => (link.role === 'shim' ? shim : panels).accept(link),
    calls: (connection) => calls.accept(connection),
  })
  const endMetrics = await serveMetrics(context)
  store.apply({ kind: 'host', host: await hostInfo(engine, null, context.problems) })
  await writeConnectionFile(run.path, { port: server.port, socket, segments }, token)
  context.journal.write('bridge', { pid: process.pid, status: 'started' })
  background(context, 'The node packs could not be looked at', packs.rescan())
  background(context, 'Installs that were under way do not go on', jobs.resume())
  return {
    port: server.port,
    protocol: PROTOCOL_VERSION,
    run: run.path,
    close: async (abandoned) => {
      shared.end()
      if (abandoned) workers.killAll()
      try {
        await Promise.all([jobs.suspendAll(), workers.stopAll()])
        await Promise.all([server.close(), endMetrics?.()])
      } finally {
        context.journal.write('bridge', { pid: process.pid, status: abandoned ? 'ended with ComfyUI' : 'ended' })
        await context.journal.close()
      }
    },
  }
}

