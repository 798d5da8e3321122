import { z } from 'zod'
import { EnvCombination } from './env'

/** Why a candidate was refused (or, for the two marked so, warned about). */
export const REASON_CODES = [
  'TAG_PYTHON',
  'TAG_ABI',
  'TAG_PLATFORM',
  'GLIBC',
  'TORCH_MINOR',
  'TORCH_PATCH',
  'TORCH_MIN',
  'CUDA_MAJOR',
  'CUDA_MINOR',
  'CXX11ABI',
  'SM_MISSING',
  'DRIVER_TOO_OLD',
  'BACKEND',
  'INVALID_NAME',
  'VERSION',
  'UNLABELLED',
  'YANKED',
  'HASH',
  'NOT_FOUND',
  'HOST_NOT_ALLOWED',
] as const
export const ReasonCode = z.enum(REASON_CODES)
export type ReasonCode = z.infer<typeof ReasonCode>

/** Labels that a publisher wrote into the local version. `null` is "not said", never "CPU". */
export const WheelLabels = z.strictObject({
  cuda: z.string().nullable().describe('12.8, or 12 where only the major is named'),
  torch: z.string().nullable().describe('2.8 or 2.8.0'),
  torch_match: z.enum(['exact', 'minor', 'minimum', 'ambiguous']).nullable(),
  cxx11abi: z.boolean().nullable(),
  rocm: z.string().nullable(),
  backend: z.string().nullable().describe('cuda, rocm, cpu, xpu, vulkan …; null: not said'),
})
export type WheelLabels = z.infer<typeof WheelLabels>

/** `comfy-env why`: a wheel's name taken apart and judged. */
export const WheelReport = z.strictObject({
  filename: z.string(),
  package: z.string(),
  version: z.string(),
  build: z.string().nullable(),
  python_tags: z.array(z.string()),
  abi_tags: z.array(z.string()),
  platform_tags: z.array(z.string()),
  labels: WheelLabels,
  compatible: z.boolean(),
  reasons: z.array(ReasonCode),
  warnings: z.array(ReasonCode),
})
export type WheelReport = z.infer<typeof WheelReport>

export const Rejection = z.strictObject({ filename: z.string(), url: z.string(), reasons: z.array(ReasonCode) })
export type Rejection = z.infer<typeof Rejection>

/** A combination for which a wheel exists. */
export const Combination = z.strictObject({
  python: z.string().nullable(),
  torch: z.string().nullable(),
  cuda: z.string().nullable(),
  platform: z.string(),
  version: z.string(),
})
export type Combination = z.infer<typeof Combination>

/** What would have to change on this machine for a wheel to fit. Costs: `bridge/resolve/nearest.ts`. */
export const Nearest = z.strictObject({
  change: z.record(z.string(), z.string()).describe('fact → value it would need, as {"torch":"2.8"}'),
  filename: z.string(),
  cost: z.number(),
})
export type Nearest = z.infer<typeof Nearest>

/** The answer for one requirement: one of `results` of `comfy-env resolve --json`. */
export const Resolution = z
  .strictObject({
    requirement: z.string(),
    package: z.string(),
    version: z.string().nullable(),
    status: z.enum(['found', 'none', 'error']),
    url: z.string().nullable(),
    filename: z.string().nullable(),
    sha256: z.string().nullable(),
    source: z.string().nullable(),
    warnings: z.array(z.string()),
    rejected: z.array(Rejection),
    available: z.array(Combination),
    nearest: z.array(Nearest),
    error: z.string().optional(),
  })
  .meta({ id: 'Resolution' })
export type Resolution = z.infer<typeof Resolution>

/** A combination for which every wheel of a pack exists, and which this machine can run. */
export const EnvOffer = z
  .strictObject({
    combination: EnvCombination,
    wheels: z.array(z.strictObject({ requirement: z.string(), filename: z.string(), version: z.string(), url: z.string() })),
    cost: z.number().describe('distance from ComfyUI’s own combination; the nearest comes first'),
  })
  .meta({ id: 'EnvOffer' })
export type EnvOffer = z.infer<typeof EnvOffer>

/** `comfy-env torch`: what happens to what is bound to torch if ComfyUI's torch moves. */
export const TorchPlan = z.strictObject({
  from: EnvCombination.nullable(),
  to: EnvCombination,
  problems: z.array(z.string()).describe('why the move itself would not work on this machine'),
  packages: z.array(
    z.strictObject({
      name: z.string(),
      installed: z.string().nullable(),
      used_by: z.string().describe('ComfyUI, or a node pack'),
      verdict: z.enum(['stays', 'rebuild', 'breaks', 'unknown']),
      detail: z.string(),
      filename: z.string().nullable().describe('the wheel to install after the move'),
    }),
  ),
})
export type TorchPlan = z.infer<typeof TorchPlan>
