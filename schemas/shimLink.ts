import { z } from 'zod'
import { CallId, PackId } from './ids'
import { LoadedPack, NodeClass } from './pack'
import { Value } from './value'

const Nothing = z.strictObject({})

/** Which of a class's methods a call is for. `FUNCTION` is the one that the class names. */
export const CallMethod = z.enum(['FUNCTION', 'IS_CHANGED', 'VALIDATE_INPUTS', 'check_lazy_status'])

/** A call of a node, the same on the shim's link and on the worker's. */
export const NodeCall = z
  .strictObject({
    call: CallId,
    pack: PackId,
    class: z.string(),
    method: CallMethod,
    node: z.string().describe('unique id of the node; with the class it names the instance that keeps state'),
    prompt: z.string().nullable(),
    kwargs: Value.describe('keyword arguments, a tagged dict'),
  })
  .meta({ id: 'NodeCall' })
export type NodeCall = z.infer<typeof NodeCall>

export const CallResult = z.strictObject({ value: Value, worker: z.string() })
export type CallResult = z.infer<typeof CallResult>

export const Progress = z
  .strictObject({ call: CallId, value: z.number(), total: z.number(), preview: Value.optional() })
  .meta({ id: 'Progress' })

/** What a worker's pack sent to the browser through `PromptServer.send_sync`. */
export const HostEvent = z
  .strictObject({ call: CallId.nullable(), event: z.string(), data: Value, text: z.boolean() })
  .meta({ id: 'HostEvent' })

export const Leases = z.strictObject({ leases: z.array(z.string()) }).meta({ id: 'Leases' })

/** How a pack fared when ComfyUI loaded it. */
export const HostPack = z
  .strictObject({
    id: PackId,
    loaded: z.enum(['host', 'worker', 'failed', 'no']),
    error: z.string().nullable(),
    classes: z.number().int().nullable(),
    live_classes: z.array(z.string()),
  })
  .meta({ id: 'HostPack' })
export type HostPack = z.infer<typeof HostPack>

/** The folders of the host that a worker must see the same way. */
export const HostFolders = z
  .strictObject({
    root: z.string(),
    base: z.string(),
    output: z.string(),
    input: z.string(),
    temp: z.string(),
    user: z.string(),
    models: z.record(z.string(), z.strictObject({ paths: z.array(z.string()), extensions: z.array(z.string()) })),
    argv: z.array(z.string()),
  })
  .meta({ id: 'HostFolders' })
export type HostFolders = z.infer<typeof HostFolders>

export const HostReport = z
  .strictObject({
    version: z.string(),
    pack_roots: z.array(z.string()),
    folders: HostFolders,
    packs: z.array(HostPack),
  })
  .meta({ id: 'HostReport' })
export type HostReport = z.infer<typeof HostReport>

export const shimToBridge = {
  requests: {
    'host.report': { params: HostReport, result: Nothing },
    'node.call': { params: NodeCall, result: CallResult },
    'pack.load': { params: z.strictObject({ pack: PackId }), result: LoadedPack },
  },
  notifications: {
    'call.cancel': z.strictObject({ call: CallId }),
    // the result's shared memory is mapped: from here on its worker may end
    'call.received': z.strictObject({ call: CallId }),
    'lease.release': Leases,
    'handle.release': z.strictObject({ worker: z.string(), handles: z.array(z.string()) }),
  },
} as const

export const bridgeToShim = {
  requests: {
    'isolation.apply': {
      params: z.strictObject({ pack: PackId, on: z.boolean(), classes: z.array(NodeClass), web_directory: z.string().nullable() }),
      result: z.strictObject({ pack: HostPack, restart_needed: z.string().nullable() }),
    },
  },
  notifications: {
    'node.progress': Progress,
    'host.event': HostEvent,
    'lease.release': Leases,
    'worker.gone': z.strictObject({ worker: z.string(), packs: z.array(PackId) }),
  },
} as const
