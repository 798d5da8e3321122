import { z } from 'zod'
import { CallId, PackId } from './ids'
import { LoadedPack } from './pack'
import { HostEvent, Leases, NodeCall } from './shimLink'
import { Value } from './value'

const Nothing = z.strictObject({})

export const bridgeToWorker = {
  requests: {
    'worker.ping': { params: Nothing, result: z.strictObject({ busy: z.boolean().describe('a node runs'), beside_ms: z.number().nullable().describe('milliseconds since its packs last worked beside calls: requests, threads; null: never') }) },
    // beside the node that runs: what ComfyUI does on its web server's thread
    'side.call': { params: z.strictObject({ call: NodeCall, kwargs: Value }), result: z.strictObject({ value: Value }) },
    'pack.describe': { params: z.strictObject({ pack: PackId }), result: LoadedPack },
    'prompt.handle': { params: z.strictObject({ pack: PackId, prompt: z.string().describe('JSON: its keys are a user’s, and nothing of ours looks at them') }), result: z.strictObject({ prompt: z.string() }) },
  },
  notifications: {
    'call.cancel': z.strictObject({ call: CallId }),
    // on Windows, where a signal would end the process: interrupt what its main thread runs, if that was cancelled
    'worker.interrupt': Nothing,
    'lease.release': Leases,
    'handle.release': z.strictObject({ handles: z.array(z.string()) }),
    'instance.release': z.strictObject({ instances: z.array(z.string()) }),
    'prompt.ended': z.strictObject({ prompt: z.string() }),
    'worker.relax': Nothing,
    // no more calls from ComfyUI itself: those that have come are still done
    'calls.close': Nothing,
  },
} as const

export const workerToBridge = {
  requests: {},
  notifications: {
    'host.event': HostEvent,
    'lease.release': Leases,
    // so many objects stay here for ComfyUI: with any, the worker is not idle
    'handles.kept': z.strictObject({ count: z.number().int().nonnegative() }),
  },
} as const
