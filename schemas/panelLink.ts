import { z } from 'zod'
import { EnvId, JobId, PackId, WorkerId } from './ids'
import { Fingerprint } from './host'
import { EnvCombination, EnvInfo, InstallPlan } from './env'
import { EnvOffer } from './wheel'
import { JobInfo, LogLine } from './job'
import { PackInfo } from './pack'
import { WorkerInfo } from './worker'

const Nothing = z.strictObject({})

/** A pack's install: into the kind of env that it has, or a sealed one of this combination; `null`: an overlay. */
const InstallChoice = z.strictObject({ pack: PackId, combination: EnvCombination.nullable().optional() })

/** What the panel asks the bridge. Ids only: never a path, a URL or an argument. */
export const panelToBridge = {
  requests: {
    'state.snapshot': { params: Nothing, result: z.lazy(() => Snapshot) },
    'packs.rescan': { params: Nothing, result: Nothing },
    'install.preview': { params: InstallChoice, result: InstallPlan },
    'install.find': { params: z.strictObject({ pack: PackId }), result: z.strictObject({ offers: z.array(EnvOffer) }) },
    'install.start': { params: InstallChoice, result: z.strictObject({ job: JobId }) },
    'install.undo': { params: z.strictObject({ env: EnvId }), result: Nothing },
    'job.cancel': { params: z.strictObject({ job: JobId }), result: Nothing },
    'env.repair': { params: z.strictObject({ env: EnvId }), result: z.strictObject({ job: JobId }) },
    'env.delete': { params: z.strictObject({ env: EnvId }), result: Nothing },
    'isolation.set': { params: z.strictObject({ pack: PackId, on: z.boolean() }), result: Nothing },
    'worker.stop': { params: z.strictObject({ worker: WorkerId }), result: Nothing },
    'log.read': {
      params: z.strictObject({ log: z.union([JobId, WorkerId]), after: z.number().int().nonnegative() }),
      result: z.strictObject({ lines: z.array(LogLine), more: z.boolean() }),
    },
  },
  notifications: {},
} as const

/** One change of the state. `seq` grows by one: a gap means that a new snapshot is needed. */
export const StateEvent = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('host'), seq: z.number().int(), host: z.lazy(() => HostInfo) }),
    z.strictObject({ kind: z.literal('pack'), seq: z.number().int(), pack: PackInfo }),
    z.strictObject({ kind: z.literal('pack_gone'), seq: z.number().int(), id: PackId }),
    z.strictObject({ kind: z.literal('env'), seq: z.number().int(), env: EnvInfo }),
    z.strictObject({ kind: z.literal('env_gone'), seq: z.number().int(), id: EnvId }),
    z.strictObject({ kind: z.literal('job'), seq: z.number().int(), job: JobInfo }),
    z.strictObject({ kind: z.literal('worker'), seq: z.number().int(), worker: WorkerInfo }),
  ])
  .meta({ id: 'StateEvent' })
export type StateEvent = z.infer<typeof StateEvent>

export const bridgeToPanel = {
  requests: {},
  notifications: {
    'state.changed': StateEvent,
    'log.lines': z.strictObject({ log: z.union([JobId, WorkerId]), lines: z.array(LogLine) }),
    'nodes.changed': z.strictObject({ pack: PackId }),
  },
} as const

export const HostInfo = z
  .strictObject({
    fingerprint: Fingerprint,
    one_line: z.string().describe('the fingerprint in one line, to paste into an issue'),
    comfyui: z.string().nullable().describe('version of the connected ComfyUI; null: none is connected'),
    home: z.string().describe('where envs, jobs and the cache lie'),
    uv: z.string().nullable().describe('version of uv; null: not found'),
    writable: z.boolean().describe('false: this panel may look, not change'),
    problems: z.array(z.string()),
  })
  .meta({ id: 'HostInfo' })
export type HostInfo = z.infer<typeof HostInfo>

export const Snapshot = z
  .strictObject({
    seq: z.number().int(),
    host: HostInfo,
    packs: z.array(PackInfo),
    envs: z.array(EnvInfo),
    jobs: z.array(JobInfo),
    workers: z.array(WorkerInfo),
  })
  .meta({ id: 'Snapshot' })
export type Snapshot = z.infer<typeof Snapshot>

/** What the shim itself tells a panel, before or without a bridge. */
export const ShimNotice = z
  .strictObject({
    method: z.literal('shim.status'),
    params: z.strictObject({
      status: z.enum(['starting', 'running', 'failed']),
      message: z.string(),
      hint: z.string(),
    }),
  })
  .meta({ id: 'ShimNotice' })
export type ShimNotice = z.infer<typeof ShimNotice>
