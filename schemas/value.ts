import { z } from 'zod'

/**
 * Where a tensor's bytes lie. `pid` and `fd` name an anonymous shared-memory segment (Linux memfd, opened through /proc);
 * where there is none, `path` names a file that is mapped instead. Bytes are C-contiguous from `offset`.
 */
export const SegmentRef = z
  .strictObject({
    lease: z.string().describe('released by message when the receiver has let go of it'),
    segment: z.string().describe('names the segment itself, over all its leases'),
    pid: z.number().int().nullable(),
    fd: z.number().int().nullable(),
    path: z.string().nullable(),
    offset: z.number().int().nonnegative(),
    bytes: z.number().int().nonnegative(),
  })
  .meta({ id: 'SegmentRef' })
export type SegmentRef = z.infer<typeof SegmentRef>

const Shape = z.array(z.number().int().nonnegative())
const Segment = SegmentRef.nullable().describe('null: zero bytes')

/**
 * A Python value as JSON. Plain JSON stands for itself, but every JSON *object* is one of these tagged forms, so no dict of a
 * user can be taken for one: a dict travels as its list of pairs.
 */
export const TaggedValue = z
  .discriminatedUnion('$', [
    z.strictObject({ $: z.literal('tuple'), v: z.unknown().describe('a list') }),
    z.strictObject({
      $: z.literal('named'),
      name: z.string(),
      module: z.string().describe('where the class is from: used if it is loaded there, never imported'),
      fields: z.array(z.string()),
      v: z.array(z.unknown()),
    }),
    z.strictObject({ $: z.literal('json'), v: z.unknown().describe('a list or dict that is plain JSON with all in it: taken as it is') }),
    z.strictObject({ $: z.literal('numbers'), code: z.enum(['i', 'q', 'd', '?']).describe('32-bit, 64-bit, float, truth value'), v: z.unknown().describe('a list as machine numbers: base64, or a blob') }),
    z.strictObject({ $: z.literal('shared'), v: z.unknown().describe('what stands in the message more than once; numbered in this order') }),
    z.strictObject({ $: z.literal('again'), of: z.number().int().describe('number of a shared one: the same object') }),
    z.strictObject({ $: z.literal('dict'), v: z.array(z.tuple([z.unknown(), z.unknown()])) }),
    z.strictObject({
      $: z.literal('tree').describe('containers in each other, a level at a time (python_shim/wire/tree.py)'),
      levels: z.array(
        z.strictObject({
          k: z.string().describe('list, tuple, dict, set, frozenset: their first letter (f: frozenset); one letter if all are alike'),
          n: z.union([z.number().int(), z.array(z.number().int())]).describe('how many items each has'),
          m: z.string().describe('of each item: c a container of the next level, . plain, f a float, * another; one letter if all are alike'),
          pairs: z.literal(true).optional().describe('the keys of dicts stand among the items, before the values'),
          keys: z.array(z.array(z.string())).optional(),
          of: z.array(z.number().int()).optional().describe('which keys each dict has'),
        }),
      ),
      v: z.unknown().describe('the plain ones: a list, or numbers'),
      f: z.unknown().optional().describe('the floats: numbers'),
      s: z.array(z.unknown()).optional().describe('the forms of the others'),
    }),
    z.strictObject({ $: z.literal('set'), v: z.unknown().describe('a list'), frozen: z.boolean() }),
    z.strictObject({ $: z.literal('kind'), kind: z.string().describe('of python_shim/wire/kinds.py, or of torch and numpy'), v: z.array(z.unknown()).describe('what it is made of') }),
    z.strictObject({ $: z.literal('with'), v: z.unknown().describe('a tensor'), names: z.unknown().describe('a dict of its attributes') }),
    z.strictObject({ $: z.literal('float'), v: z.string().describe('nan, inf, -inf, or # and the bits in hex; math.nan and numpy.nan are those very objects; in a schema, any that JavaScript would change') }),
    z.strictObject({ $: z.literal('int'), v: z.string().describe('an integer beyond 2^53, in hex') }),
    z.strictObject({ $: z.literal('complex'), v: z.tuple([z.unknown(), z.unknown()]) }),
    z.strictObject({ $: z.literal('bytes'), v: z.string().describe('base64') }),
    z.strictObject({ $: z.literal('blob'), kind: z.enum(['str', 'bytes', 'bytearray']), segment: Segment }),
    z.strictObject({ $: z.literal('path'), v: z.string().describe('in a schema') }),
    z.strictObject({ $: z.literal('tensor'), dtype: z.string(), shape: Shape, channels_last: z.boolean(), inference: z.boolean().describe('made in torch’s inference mode'), device: z.string().nullable().describe('null: cpu'), segment: Segment }),
    z.strictObject({ $: z.literal('ndarray'), dtype: z.unknown(), shape: Shape, scalar: z.boolean(), kind: z.enum(['matrix', 'recarray']).optional(), readonly: z.literal(true).optional(), segment: Segment }),
    z.strictObject({ $: z.literal('same'), of: z.number().int().describe('index of an earlier tensor or array of this message') }),
    z.strictObject({ $: z.literal('input'), of: z.number().int().describe('index of a tensor or array of the call, which comes back unchanged') }),
    z.strictObject({ $: z.literal('blocker'), v: z.unknown() }),
    z.strictObject({ $: z.literal('wrote'), v: z.unknown().describe('the result'), changes: z.unknown().describe('what the node has written into its hidden PROMPT and EXTRA_PNGINFO: ways, each with what is there now') }),
    z.strictObject({
      $: z.literal('cuda').describe('a tensor that stays on its GPU until the receiver has copied it there (CUDA IPC)'),
      dtype: z.string(),
      shape: Shape,
      channels_last: z.boolean(),
      inference: z.boolean(),
      lease: z.string(),
      uuid: z.string().describe('of the GPU, in hex'),
      handle: z.string().describe('of the allocation (CUipcMemHandle), base64'),
      offset: z.number().int().describe('in it, in bytes'),
      check: z.string().nullable().describe('its first bytes, base64: the canary'),
    }),
    z.strictObject({ $: z.literal('pil'), v: z.array(z.unknown()).describe('mode, size, pixels, palette with its mode, info') }),
    z.strictObject({ $: z.literal('video'), v: z.unknown().describe('ComfyUI’s VIDEO: its class and all that it holds') }),
    z.strictObject({ $: z.literal('object'), name: z.string(), module: z.string().describe('of ComfyUI’s API, and loaded there: never imported'), v: z.unknown().describe('a dict of its attributes') }),
    z.strictObject({ $: z.literal('dynprompt'), v: z.unknown().describe('ComfyUI’s DynamicPrompt: its graph, with what nodes have added to it') }),
    z.strictObject({ $: z.literal('node_output'), v: z.unknown().describe('of a V3 node: a tuple of args, ui, expand, block_execution') }),
    z.strictObject({ $: z.literal('files'), folder: z.string().describe('of folder_paths'), v: z.array(z.unknown()), before: z.array(z.unknown()), after: z.array(z.unknown()) }),
    z.strictObject({ $: z.literal('handle'), id: z.string(), owner: z.string().describe('the process that has the object, by the name that never repeats'), worker: z.string(), type: z.string(), made_by: z.string() }),
    z.strictObject({
      $: z.literal('magic'),
      kind: z.enum(['str', 'dict', 'tuple']),
      v: z.unknown(),
      ne: z.union([z.literal('never'), z.array(z.string())]).optional().describe('of `str`: the types that it is not unequal to'),
      eq: z.union([z.literal('always'), z.array(z.string())]).optional().describe('of `str`: those that it is equal to'),
      but: z.tuple([z.array(z.string()), z.array(z.string())]).optional().describe('of `str`: to which of all the two do not apply'),
      others: z.tuple([z.boolean(), z.boolean()]).optional().describe('of `str`: whether they apply to what is no text'),
      missing: z.unknown().optional(),
    }),
  ])
  .meta({ id: 'TaggedValue' })
export type TaggedValue = z.infer<typeof TaggedValue>

/** A value inside a message. The bridge passes it on unread: only the two Python ends look inside. */
export const Value = z.unknown()
