import { z } from 'zod'
import { EnvId, PackId } from './ids'

/** `host` shares everything, `overlay` falls back to ComfyUI's site-packages, `sealed` shares nothing. */
export const EnvKind = z.enum(['host', 'overlay', 'sealed'])
export type EnvKind = z.infer<typeof EnvKind>

/** The Python, torch and CUDA of a sealed env. `cuda` null: torch for the CPU. */
export const EnvCombination = z
  .strictObject({
    python: z.string().describe('3.12'),
    torch: z.string().describe('public version, 2.8.0'),
    cuda: z.string().nullable().describe('12.8'),
  })
  .meta({ id: 'EnvCombination' })
export type EnvCombination = z.infer<typeof EnvCombination>

export const InstalledPackage = z.strictObject({ name: z.string(), version: z.string() })
export type InstalledPackage = z.infer<typeof InstalledPackage>

/**
 * `envs/<id>/env.json`: written last and by rename, so its `generation` is the switch. A generation folder that no record
 * names is left over from a kill and is swept at the next start.
 */
export const EnvRecord = z.strictObject({
  schema: z.literal(1),
  id: EnvId,
  kind: EnvKind,
  pack: PackId,
  generation: z.number().int().nonnegative(),
  previous: z.number().int().nonnegative().nullable().describe('generation kept for undo'),
  interpreter: z.string().describe('the Python that the env was made from'),
  host_site: z.string().nullable().describe('site-packages that an overlay falls back to'),
  combination: EnvCombination.nullable().default(null).describe('of a sealed env; null for the other kinds. Records of before 0.1 lack it'),
  requirements_hash: z.string(),
  packages: z.array(InstalledPackage),
  created: z.number().describe('milliseconds since 1970'),
})
export type EnvRecord = z.infer<typeof EnvRecord>

export const EnvInfo = z
  .strictObject({
    id: EnvId,
    kind: EnvKind,
    pack: PackId,
    state: z.enum(['ready', 'broken']),
    reason: z.string().nullable(),
    generation: z.number().int(),
    packages: z.array(InstalledPackage),
    bytes: z.number().nullable().describe('size of the generation in use'),
    unique_bytes: z.number().nullable().describe('what deleting the env would free: files that it shares with no other and not with the cache'),
    combination: EnvCombination.nullable(),
    can_undo: z.boolean(),
    python: z.string().describe('version of its Python'),
    torch: z.string().nullable().describe('version of the torch that it sees; null: none'),
    created: z.number(),
  })
  .meta({ id: 'EnvInfo' })
export type EnvInfo = z.infer<typeof EnvInfo>

/** A change of ComfyUI's own environment that can be put back. `id` is a name that the bridge gave it. */
export const HostChange = z
  .strictObject({
    id: z.string().max(64),
    pack: PackId,
    state: z.enum(['open', 'done', 'restored']),
    created: z.number(),
    added: z.array(z.string()),
    changed: z.array(InstalledPackage).describe('packages and their versions before'),
    restorable: z.boolean().describe('false: a later change stands on it, or it is put back already'),
  })
  .meta({ id: 'HostChange' })
export type HostChange = z.infer<typeof HostChange>

/** What an install would do: `plan` of `comfy-env install --json`. */
export const InstallPlan = z
  .strictObject({
    env: EnvId,
    kind: EnvKind,
    add: z.array(
      z.strictObject({ name: z.string(), version: z.string(), url: z.string().nullable(), bytes: z.number().nullable() }),
    ),
    remove: z.array(z.strictObject({ name: z.string(), version: z.string() })),
    change: z.array(z.strictObject({ name: z.string(), from: z.string(), to: z.string() })),
    torch_changes: z.boolean(),
    download_bytes: z.number().nullable(),
    combination: EnvCombination.nullable().describe('what a sealed env is built from'),
    hosts: z.array(z.string()).describe('where files come from'),
    warnings: z.array(z.string()),
  })
  .meta({ id: 'InstallPlan' })
export type InstallPlan = z.infer<typeof InstallPlan>
