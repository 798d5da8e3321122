import { z } from 'zod'
import { EnvId, JobId, PackId, WorkerId } from './ids'
import { Fingerprint } from './host'
import { EnvCombination, EnvInfo, HostChange, InstallPlan } from './env'
import { EnvOffer } from './wheel'
import { JobInfo, LogLine } from './job'
import { PackInfo, PackNodes } from './pack'
import { Check, Leftover, PanelSettings, ReportPart } from './care'
import { WorkerInfo } from './worker'

const Nothing = z.strictObject({})

/**
 * A pack's install: into the kind of env that it has, or a sealed one of this combination; `null`: an overlay. `in_place`: into
 * ComfyUI's own environment.
 */
const InstallChoice = z.strictObject({
  pack: PackId,
  combination: EnvCombination.nullable().optional(),
  in_place: z.boolean().optional(),
})

/** A log: its lines after a number, or before one (null: the last ones). */
const LogPlace = z.strictObject({
  log: z.union([JobId, WorkerId]),
  after: z.number().int().nonnegative().optional(),
  before: z.number().int().positive().nullable().optional(),
})

/** What the panel asks the bridge. Ids only: never a path, a URL or an argument. */
export const panelToBridge = {
  requests: {
    'state.snapshot': { params: Nothing, result: z.lazy(() => Snapshot) },
    'packs.rescan': { params: Nothing, result: Nothing },
    'pack.nodes': { params: z.strictObject({ pack: PackId }), result: PackNodes },
    'install.preview': { params: InstallChoice, result: InstallPlan },
    'install.find': { params: z.strictObject({ pack: PackId }), result: z.strictObject({ offers: z.array(EnvOffer) }) },
    'install.start': {
      params: z.strictObject({
        ...InstallChoice.shape,
        isolate: z.boolean().optional(),
        after: JobId.nullable().optional().describe('the latest job of the pack as its agreement was asked for; where another has begun since, that one is the result'),
      }),
      result: z.strictObject({ job: JobId }),
    },
    'install.undo': { params: z.strictObject({ env: EnvId }), result: Nothing },
    'job.cancel': { params: z.strictObject({ job: JobId }), result: Nothing },
    'job.retry': { params: z.strictObject({ job: JobId }), result: z.strictObject({ job: JobId }) },
    'env.repair': { params: z.strictObject({ env: EnvId }), result: z.strictObject({ job: JobId }) },
    'env.delete': { params: z.strictObject({ env: EnvId }), result: Nothing },
    'host.changes': { params: Nothing, result: z.strictObject({ changes: z.array(HostChange) }) },
    'host.restore': { params: z.strictObject({ change: z.string().max(64) }), result: Nothing },
    'isolation.set': {
      params: z.strictObject({
        pack: PackId,
        class: z.string().min(1).max(256).optional().describe('a node class; absent: the pack'),
        on: z.boolean().nullable().describe('null, for a node class only: as its pack'),
      }),
      result: Nothing,
    },
    'pack.forget': { params: z.strictObject({ pack: PackId.describe('one that is gone') }), result: Nothing },
    'pack.renamed': {
      params: z.strictObject({ pack: PackId, same: z.boolean().describe('whether it is the pack that it may have been (`was`): then its choices and environment go on here') }),
      result: Nothing,
    },
    'worker.stop': { params: z.strictObject({ worker: WorkerId }), result: Nothing },
    'worker.restart': { params: z.strictObject({ worker: WorkerId }), result: Nothing },
    'space.look': { params: Nothing, result: z.strictObject({ items: z.array(Leftover) }) },
    'space.free': { params: Nothing, result: z.strictObject({ items: z.array(Leftover) }) },
    'doctor.run': { params: Nothing, result: z.strictObject({ checks: z.array(Check) }) },
    'report.make': { params: Nothing, result: z.strictObject({ parts: z.array(ReportPart) }) },
    'settings.set': { params: PanelSettings.partial(), result: Nothing },
    'log.read': {
      params: LogPlace,
      result: z.strictObject({ lines: z.array(LogLine), more: z.boolean().describe('there are further ones that way') }),
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
    version: z.string().describe('of this product'),
    settings: PanelSettings,
    fixed: z.array(z.string()).describe('settings that an environment variable fixes'),
    checked: z.number().nullable().describe('when the sources of wheels were last asked; milliseconds since 1970'),
    restart_needed: z.string().nullable().describe('why ComfyUI should be restarted'),
    free_bytes: z.number().nullable().describe('free space where environments lie'),
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
