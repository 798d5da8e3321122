import type { EnvCombination } from '../../schemas/env'
import type { Fingerprint } from '../../schemas/host'
import content from './torchBuilds.json' with { type: 'json' }
import { compareDotted, numbers } from './versions'

/** The builds that PyTorch publishes for a machine's system, each with its CUDA; the same for the CPU with `cuda` null. */
export function torchBuilds(platform: Fingerprint['platform'], forCpu: boolean): EnvCombination[] {
  const name = platform.os === 'windows' ? 'windows' : platform.tag
  const here = content.builds.filter(({ platforms }) => platforms.includes(name) || (platform.os === 'darwin' && forCpu))
  const isAbsent = (build: { torch: string; cuda: string }, python: string): boolean =>
    content.absent.some((gap) => gap.torch === build.torch && gap.cuda === build.cuda && gap.python === python && gap.platform === name)
  const all = here.flatMap((build) =>
    build.python.filter((python) => !isAbsent(build, python)).map((python) => ({ python, torch: build.torch, cuda: forCpu ? null : build.cuda })),
  )
  return [...new Map(all.map((build) => [JSON.stringify(build), build])).values()]
}

/**
 * Whether a torch build has code for a GPU: compiled code of the same major with at most its minor, or PTX of at most its
 * capability. Null: the build's list is not known.
 */
export function torchServes({ torch, cuda }: EnvCombination, arch: string, compute: string): boolean | null {
  const cpu = /aarch64|arm64/i.test(arch) ? 'aarch64' : 'x86_64'
  const row = content.archs.find((entry) => entry.torch === torch && entry.cuda === cuda && entry.arch === cpu)
  if (!row) return null
  const [major] = numbers(compute)
  const compiled = row.sass.some((sm) => numbers(sm)[0] === major && compareDotted(sm, compute) <= 0)
  return compiled || row.ptx.some((sm) => compareDotted(sm, compute) <= 0)
}
