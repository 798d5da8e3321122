import { z } from 'zod'
import { CallId, PackId } from './ids'
import { LoadedPack } from './pack'
import { HostEvent, HostFolders, Leases, NodeCall, Progress } from './shimLink'
import { Value } from './value'

const Nothing = z.strictObject({})

export const bridgeToWorker = {
  requests: {
    'worker.hello': {
      params: z.strictObject({ protocol: z.number().int(), worker: z.string(), folders: HostFolders.nullable() }),
      result: z.strictObject({ protocol: z.number().int(), pid: z.number().int(), python: z.string() }),
    },
    'pack.load': { params: z.strictObject({ pack: PackId, dir: z.string() }), result: LoadedPack },
    'node.call': { params: NodeCall, result: z.strictObject({ value: Value }) },
    'worker.ping': { params: Nothing, result: Nothing },
  },
  notifications: {
    'call.cancel': z.strictObject({ call: CallId }),
    'lease.release': Leases,
    'handle.release': z.strictObject({ handles: z.array(z.string()) }),
    'worker.shutdown': Nothing,
  },
} as const

export const workerToBridge = {
  requests: {},
  notifications: {
    'node.progress': Progress,
    'host.event': HostEvent,
    'lease.release': Leases,
  },
} as const
