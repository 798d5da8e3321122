import { z } from 'zod'

/** Where a fact about the machine was read: a file, a command or the name of an override. */
const Source = z.string()

export const PythonFacts = z.strictObject({
  version: z.string().describe('full version, 3.12.4'),
  tag: z.string().describe('PEP 425 python tag, cp312'),
  abi: z.string().describe('PEP 425 abi tag, cp312 or cp313t'),
  executable: z.string(),
  source: Source,
})

export const PlatformFacts = z.strictObject({
  tag: z.string().describe('wheel platform tag without glibc: win_amd64, linux_x86_64, macosx_14_0_arm64'),
  os: z.enum(['linux', 'windows', 'darwin']),
  arch: z.string().describe('x86_64, amd64, aarch64 or arm64'),
  glibc: z.string().nullable().describe('glibc version, 2.36; null where there is none'),
})

export const TorchFacts = z.strictObject({
  version: z.string().describe('public version, 2.8.0'),
  cuda: z.string().nullable().describe('CUDA it was built for, 12.8'),
  hip: z.string().nullable().describe('ROCm it was built for'),
  cxx11abi: z.boolean().nullable().describe('true: built with the new C++ ABI; null: unknown'),
  source: Source,
})

export const CudaFacts = z.strictObject({
  version: z.string().nullable().describe('CUDA version that wheels must match'),
  driver: z.string().nullable().describe('NVIDIA driver version'),
  driver_max_cuda: z.string().nullable().describe('newest CUDA the driver runs'),
  source: Source,
})

export const GpuFacts = z.strictObject({
  name: z.string(),
  compute: z.string().describe('compute capability, 8.9'),
  memory_bytes: z.number().nullable(),
  uuid: z.string().nullable(),
})

/** What this machine (or the machine planned for) is. Every fact carries its source. `fingerprint` of `comfy-env info --json`. */
export const Fingerprint = z
  .strictObject({
    python: PythonFacts,
    platform: PlatformFacts,
    torch: TorchFacts.nullable(),
    cuda: CudaFacts.nullable(),
    gpus: z.array(GpuFacts),
  })
  .meta({ id: 'Fingerprint' })
export type Fingerprint = z.infer<typeof Fingerprint>

/** Template variables filled from the fingerprint; a variable that cannot be filled is absent. */
export const Variables = z.record(z.string(), z.string())
export type Variables = z.infer<typeof Variables>
