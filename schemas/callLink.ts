import { z } from 'zod'
import { WireError } from './errors'
import { CallId, PackId } from './ids'
import { HostEvent, HostFolders, NodeCall, Progress } from './shimLink'
import { Value } from './value'

/**
 * The call path: frames of a header and a body. Headers are these; a body is a value as JSON, which the bridge passes on unread.
 * `python_shim/wire/frames.py` and `bridge/rpc/frames.ts` write and read them.
 */

/** What a node shows while it runs. It takes the way of its answer, so that it comes before it. */
const NOTE = { progress: Progress.optional(), event: HostEvent.optional(), started: CallId.optional().describe('its node runs now: of calls that ask (`says_start`)') }
export type CallNote = { progress?: z.infer<typeof Progress> | undefined; event?: z.infer<typeof HostEvent> | undefined; started?: string | undefined }

const Released = z.array(z.string()).optional().describe('leases that the sender has let go of')

/** The end of a call that went straight to a worker, its result mapped. */
const Ended = z.strictObject({
  call: CallId,
  ms: z.number().nonnegative(),
  error: z.strictObject({ code: z.string(), message: z.string() }).optional(),
})
export type Ended = z.infer<typeof Ended>

/** Where a worker's process takes calls from ComfyUI itself. `owner` names the process. */
const Straight = z.strictObject({ worker: z.string(), owner: z.string(), socket: z.string() })
export type Straight = z.infer<typeof Straight>

/** From the shim: a call (`id` and `call`), or only what is told beside calls. */
export const CallHeader = z
  .strictObject({
    id: z.number().int().nonnegative().optional(),
    call: NodeCall.optional(),
    straight: z.string().optional().describe('the call goes straight to the process of this owner: the bridge keeps account of it, and answers only if it dies'),
    unsent: z.array(CallId).optional().describe('straight calls that their process did not take: they have not run, and come again'),
    ended: z.array(Ended).optional().describe('straight calls that have ended'),
    cancel: CallId.optional(),
    released: Released,
    received: z.array(CallId).optional().describe('calls whose results are mapped: from here on their workers may end'),
    folders: HostFolders.optional().describe('ComfyUI has other folders than before'),
  })
  .meta({ id: 'CallHeader' })
export type CallHeader = z.infer<typeof CallHeader>

/** To the shim: the answer to a call (`id`, and `error` or a body), or leases that workers have let go of. */
export const AnswerHeader = z
  .strictObject({
    id: z.number().int().nonnegative().optional(),
    owner: z.string().optional().describe('the process that has read the call, and holds its leases from now on'),
    straight: Straight.optional().describe('from here on, calls of this pack may go straight there'),
    error: WireError.optional(),
    ...NOTE,
    released: Released,
  })
  .meta({ id: 'AnswerHeader' })
export type AnswerHeader = z.infer<typeof AnswerHeader>

/** To a worker's main thread, one after the other: from the bridge, or straight from the shim. */
export const TaskHeader = z
  .strictObject({
    id: z.number().int().nonnegative(),
    hello: z.strictObject({ protocol: z.number().int(), worker: z.string(), folders: HostFolders.nullable(), socket: z.string().nullable(), calls: z.string().nullable().describe('where it takes calls from ComfyUI itself; null: nowhere') }).optional(),
    load: z.strictObject({ pack: PackId, dir: z.string() }).optional(),
    call: NodeCall.optional(),
    folders: HostFolders.optional(),
    unload: z.literal(true).optional().describe('models that this worker has loaded go from its GPU'),
    function: z
      .strictObject({
        module: z.string(),
        name: z.string(),
        class: z.string().nullable().describe('null: a function of the module'),
        state: Value.describe('the instance’s attributes; null: `__init__` makes them'),
        path: z.array(z.string()).describe('folders that come first on its path'),
        inference: z.boolean().describe('whether its caller is in torch’s inference mode'),
      })
      .optional()
      .describe('of a worker that a program started by itself, without a bridge'),
    released: Released,
  })
  .meta({ id: 'TaskHeader' })
export type TaskHeader = z.infer<typeof TaskHeader>

/** From a worker's main thread. On a straight connection, what a node shows has no `id`. */
export const DoneHeader = z
  .strictObject({
    id: z.number().int().nonnegative(),
    error: WireError.optional(),
    ...NOTE,
    unread: z.literal(true).optional().describe('it failed before its values were read: no lease of it is held'),
    released: Released,
  })
  .meta({ id: 'DoneHeader' })
export type DoneHeader = z.infer<typeof DoneHeader>
