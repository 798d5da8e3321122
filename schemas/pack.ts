import { z } from 'zod'
import { byName } from './byName'
import { EnvId, PackId } from './ids'
import { Nearest, Rejection } from './wheel'
import { Value } from './value'

/** One state each, in the order of how much the user has to do. */
export const PACK_STATES = [
  'ready',
  'update',
  'missing',
  'no_wheel',
  'conflict',
  'installing',
  'failed',
  'broken',
  'gone',
  'unknown',
] as const
export const PackState = z.enum(PACK_STATES)
export type PackState = z.infer<typeof PackState>

/** How one requirement of a pack stands against the environment that the pack would run in. */
export const RequirementStatus = z.strictObject({
  text: z.string(),
  kind: z.enum(['python', 'cuda']),
  status: z.enum(['satisfied', 'missing', 'conflict', 'found', 'none', 'unknown']),
  detail: z.string(),
  rejected: z.array(Rejection),
  nearest: z.array(Nearest),
})
export type RequirementStatus = z.infer<typeof RequirementStatus>

export const Isolation = z.discriminatedUnion('state', [
  z.strictObject({ state: z.literal('off') }),
  z.strictObject({ state: z.literal('starting') }),
  z.strictObject({ state: z.literal('on') }),
  z.strictObject({ state: z.literal('failed'), reason: z.string() }),
  z.strictObject({ state: z.literal('restart_needed'), reason: z.string() }),
])
export type Isolation = z.infer<typeof Isolation>

export const PackInfo = z
  .strictObject({
    id: PackId,
    config: z.string().nullable().describe('file that says what the pack needs, relative to its folder'),
    state: PackState,
    reason: z.string().describe('the state in one sentence'),
    requirements: z.array(RequirementStatus),
    warnings: z.array(z.string()),
    env: EnvId.nullable(),
    isolation: Isolation,
    loaded: z.enum(['host', 'worker', 'failed', 'no']),
    import_error: z.string().nullable(),
    classes: z.number().int().nullable(),
    live_classes: z.array(z.string()).describe('node classes that take live host objects'),
    proxied: z.boolean().describe('ComfyUI has not imported it: its nodes run in a worker only'),
    class_isolation: byName(z.boolean()).describe('node classes that differ from their pack'),
    was: PackId.nullable().describe('a pack whose folder is gone and that says the same of its project or repository: it may be this one'),
  })
  .meta({ id: 'PackInfo' })
export type PackInfo = z.infer<typeof PackInfo>

/** A node class as the isolation switch sees it. */
export const PackNode = z
  .strictObject({
    name: z.string(),
    display_name: z.string(),
    live_inputs: z.array(z.string()).describe('inputs that take live host objects, which cannot leave ComfyUI'),
  })
  .meta({ id: 'PackNode' })
export type PackNode = z.infer<typeof PackNode>

/** The node classes of a pack, for the switch. */
export const PackNodes = z
  .strictObject({
    nodes: z.array(PackNode),
    known: z.boolean().describe('false: nobody has imported the pack yet'),
    inside: z.boolean().describe('ComfyUI has the pack itself, so that its nodes can run there too'),
    notes: z.array(z.string()).describe('what switching it takes or leaves, to be said before'),
  })
  .meta({ id: 'PackNodes' })
export type PackNodes = z.infer<typeof PackNodes>

/** A node class as its worker reports it: everything that ComfyUI asks a class before it calls it. */
export const NodeClass = z
  .strictObject({
    name: z.string(),
    display_name: z.string().nullable(),
    function: z.string().describe('the method to run; empty: the class only shows something on the canvas'),
    category: z.string(),
    description: z.string(),
    input_types: Value,
    return_types: Value,
    return_names: Value,
    output_tooltips: Value,
    input_is_list: z.boolean(),
    output_is_list: Value,
    output_node: z.boolean(),
    deprecated: z.boolean(),
    experimental: z.boolean(),
    is_changed: z.boolean(),
    validate_inputs: z.strictObject({ args: z.array(z.string()), var_kw: z.boolean() }).nullable(),
    check_lazy_status: z.boolean(),
    is_async: z.boolean().describe('ComfyUI runs its calls for the items of a list beside each other; else one after the other'),
    live_inputs: z.array(z.string()),
    graph_input_types: Value.describe('INPUT_TYPES as the class answers the graph (`get_input_info`), where that differs; else null'),
    attributes: Value.describe('further constants of the class, by name'),
    v3: z
      .strictObject({ info: Value.describe('GET_NODE_INFO_V1'), hidden: z.array(z.string()), expand: z.boolean() })
      .nullable()
      .describe('null: a V1 class'),
  })
  .meta({ id: 'NodeClass' })
export type NodeClass = z.infer<typeof NodeClass>

/** Folders of one kind of model file, and the file name endings that count. */
export const ModelFolder = z.strictObject({ paths: z.array(z.string()), extensions: z.array(z.string()) }).meta({ id: 'ModelFolder' })

/** What importing a pack in a worker gave. */
export const LoadedPack = z
  .strictObject({
    pack: PackId,
    classes: z.array(NodeClass),
    skipped: z.array(z.strictObject({ name: z.string(), reason: z.string() })),
    web_directory: z.string().nullable(),
    web_directories: byName(z.string()).describe('further ones that the pack has registered, by name'),
    routes: z.array(z.strictObject({ method: z.string(), pattern: z.string().describe('a regular expression for the whole path') })),
    prompt_handlers: z.number().int(),
    replacements: z.array(z.string()).describe('node replacements that the pack has registered, each as JSON: a number of it stays what it is'),
    cache_providers: z.array(z.array(z.string())).describe('of each that the pack has registered, which methods it has of its own; calls of the method CACHE name one by its number'),
    folders: byName(ModelFolder).describe('what the pack has added to folder_paths'),
    key: z.string().describe('of what state of its files this is; python_shim/wire/pack_key.py'),
    code: z.string().describe('of what code its classes are'),
    web_socket: z.string().nullable().describe('where the worker serves its routes; null: it has none'),
  })
  .meta({ id: 'LoadedPack' })
export type LoadedPack = z.infer<typeof LoadedPack>
