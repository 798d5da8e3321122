import { z } from 'zod'
import { byName } from './byName'
import { CallId, PackId } from './ids'
import { LoadedPack, ModelFolder, PackNode } from './pack'
import { Value } from './value'

const Nothing = z.strictObject({})

/** Which of a class's methods a call is for. `FUNCTION` is the one that the class names. */
export const CallMethod = z.enum(['FUNCTION', 'IS_CHANGED', 'VALIDATE_INPUTS', 'check_lazy_status', 'CACHE'])

/** A call of a node, the same on the shim's link and on the worker's. Its keyword arguments, a tagged dict, are the frame's body. */
export const NodeCall = z
  .strictObject({
    call: CallId,
    pack: PackId,
    class: z.string(),
    method: CallMethod,
    node: z.string().describe('unique id of the node; with the class it names the instance that keeps state'),
    instance: z.string().optional().describe('the node object in ComfyUI that it is for: the worker keeps one of its own for each. Never repeats'),
    prompt: z.string().nullable(),
    index: z.number().int().nonnegative().optional().describe('which of the node’s list items it is for; 0 if it has no lists'),
    client: z.string().optional().describe('the browser tab that queued the prompt, as ComfyUI names it'),
    preview: z.string().optional().describe('how samplers show their latents, in ComfyUI’s own word: the user’s choice, prompt by prompt'),
    owners: z.array(z.string()).optional().describe('processes whose objects are among the arguments: it must run there'),
    code: z.string().optional().describe('of what code ComfyUI has the class: a worker with another one refuses the call'),
    says_start: z.literal(true).optional().describe('it is to be told when its node starts: its time counts from there'),
  })
  .meta({ id: 'NodeCall' })
export type NodeCall = z.infer<typeof NodeCall>

export const Progress = z
  .strictObject({ call: CallId, value: z.number(), total: z.number(), preview: Value.optional() })
  .meta({ id: 'Progress' })

/** What a worker's pack sent to the browser through `PromptServer.send_sync`. */
export const HostEvent = z
  .strictObject({ call: CallId.nullable(), event: z.union([z.string(), z.number().int()]).describe('a number: one of ComfyUI’s binary events'), data: Value, packed: z.literal(true).optional().describe('`data` is a text, and that is the value as JSON: there is much of it'), text: z.boolean(), sid: z.string().nullable() })
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
    proxied: z.boolean().describe('ComfyUI has not imported it: its nodes run in a worker only'),
  })
  .meta({ id: 'HostPack' })
export type HostPack = z.infer<typeof HostPack>

/** What ComfyUI's `main.py` has made of its command line and of the machine, for workers, which never run it. */
const HostStart = z
  .strictObject({
    environment: byName(z.string()).describe('the variables that it sets for torch, its GPUs and packs, before it imports torch'),
    dynamic_vram: z.boolean().describe('whether its models are loaded by comfy-aimdo'),
  })
  .meta({ id: 'HostStart' })

/** The folders of the host that a worker must see the same way. */
export const HostFolders = z
  .strictObject({
    root: z.string(),
    base: z.string(),
    output: z.string(),
    input: z.string(),
    temp: z.string(),
    user: z.string(),
    models: byName(ModelFolder),
    argv: z.array(z.string()),
    web_root: z.string().optional().describe('of its own web files; absent before its web server is made'),
    started: HostStart.optional().describe('absent before it has started so far'),
  })
  .meta({ id: 'HostFolders' })
export type HostFolders = z.infer<typeof HostFolders>

export const HostReport = z
  .strictObject({
    version: z.string(),
    pack_roots: z.array(z.string()),
    folders: HostFolders,
    problems: z.array(z.string()).describe('what of ComfyUI we do not know, and what does not work for that'),
  })
  .meta({ id: 'HostReport' })
export type HostReport = z.infer<typeof HostReport>

export const shimToBridge = {
  requests: {
    'host.report': { params: HostReport, result: Nothing },
    'host.packs': { params: z.strictObject({ packs: z.array(HostPack) }), result: Nothing },
    'pack.load': { params: z.strictObject({ pack: PackId }), result: LoadedPack },
    // everything that was told before this has come
    'link.check': { params: Nothing, result: Nothing },
    // what a warm worker says of a pack now; null: it is not running, and is not started for this
    'pack.describe': { params: z.strictObject({ pack: PackId }), result: LoadedPack.nullable() },
    // a prompt through the on_prompt handlers of an isolated pack
    'prompt.handle': { params: z.strictObject({ pack: PackId, prompt: z.string().describe('JSON: its keys are a user’s, and nothing of ours looks at them') }), result: z.strictObject({ prompt: z.string() }) },
  },
  notifications: {
    'handle.release': z.strictObject({ owner: z.string(), handles: z.array(z.string()) }),
    // ComfyUI has let go of these node objects: workers let go of theirs
    'instance.release': z.strictObject({ instances: z.array(z.string()) }),
    // the files of an isolated pack have changed, and ComfyUI has other classes of it now
    'pack.exchanged': z.strictObject({ pack: HostPack }),
    // a prompt has ended: what its async nodes have left running is cancelled, as ComfyUI cancels it
    'prompt.ended': z.strictObject({ prompt: z.string() }),
    // ComfyUI unloads its models (its Unload button, or memory that ran out): workers do the same
    'models.unload': Nothing,
  },
} as const

export const bridgeToShim = {
  requests: {
    'isolation.apply': {
      params: z.strictObject({
        pack: PackId,
        on: z.boolean(),
        classes: byName(z.boolean()).describe('node classes that differ from their pack'),
        loaded: LoadedPack.nullable(),
      }),
      result: z.strictObject({ pack: HostPack, restart_needed: z.string().nullable() }),
    },
    // everything that was told before this has come
    'link.check': { params: Nothing, result: Nothing },
    // the node classes that ComfyUI has of a pack
    'pack.nodes': { params: z.strictObject({ pack: PackId }), result: z.strictObject({ nodes: z.array(PackNode), imported: z.boolean() }) },
  },
  notifications: {
    'host.event': HostEvent,
    'lease.release': Leases,
    'worker.gone': z.strictObject({ worker: z.string(), owner: z.string(), packs: z.array(PackId) }),
    // after a connect: the processes that there are. Others that ComfyUI knows of have ended
    'workers.alive': z.strictObject({ owners: z.array(z.string()) }),
    // a worker has started and says anew what its pack offers
    'pack.loaded': z.strictObject({ loaded: LoadedPack }),
  },
} as const
