import type { ReasonCode } from '../../schemas/wheel'
import type { Candidate } from './candidate'
import type { LocalLabels } from './labels'
import { requiredGlibc, tagRank, type WheelTags } from './tags'
import type { Target } from './target'
import { compareDotted, minor, numbers } from './versions'
import type { WheelName } from './wheelName'

/** The outcome of judging one wheel: fits if `reasons` is empty. `rank` is its best tag rank. */
export interface Verdict {
  reasons: ReasonCode[]
  warnings: ReasonCode[]
  rank: number | null
}

/**
 * Oldest driver that runs a CUDA family, by NVIDIA's minor-version compatibility (CUDA release notes, table "CUDA Toolkit and
 * Minimum Required Driver Version"): Linux and Windows.
 */
const FAMILY_DRIVER: Record<number, { linux: string; windows: string }> = {
  11: { linux: '450.80.02', windows: '452.39' },
  12: { linux: '525.60.13', windows: '528.33' },
  13: { linux: '580.65.06', windows: '580' },
}

function judgeTags(name: WheelTags, target: Target): { reasons: ReasonCode[]; rank: number | null } {
  const rank = tagRank(name, target.ranks)
  if (rank !== null) return { reasons: [], rank }
  const fits = (change: Partial<WheelTags>): boolean => tagRank({ ...name, ...change }, target.ranks) !== null
  const ownPlatform = target.tags.platform
  const reasons: ReasonCode[] = []
  const platformFits = name.platformTags.includes('any') || fits({ pythonTags: ['py3'], abiTags: ['none'] })
  if (!platformFits) {
    const unlimited = makesLinuxFit(name, target)
    reasons.push(unlimited ? 'GLIBC' : 'TAG_PLATFORM')
  }
  const somewhere = { platformTags: [ownPlatform, 'any'] }
  if (!fits(somewhere)) reasons.push(pythonFits(name, target) ? 'TAG_ABI' : 'TAG_PYTHON')
  return { reasons, rank: null }
}

/** Whether a wheel is for this version of Python, whatever its ABI: by its own tag, or as a stable-ABI build of an older one. */
function pythonFits({ pythonTags, abiTags }: WheelTags, target: Target): boolean {
  const [, here = 0] = numbers(target.tags.python)
  const stable = abiTags.some((abi) => abi.startsWith('abi3'))
  return pythonTags.some((tag) => {
    const [, kind, minorText] = /^(cp|py)3(\d*)$/.exec(tag) ?? []
    const older = Number(minorText || 0) <= here
    return kind === 'py' || stable ? older : Number(minorText) === here
  })
}

/** Whether only the glibc keeps a wheel from running here. */
function makesLinuxFit(name: WheelTags, target: Target): boolean {
  const arch = /^linux_(.+)$/.exec(target.tags.platform)?.[1]
  const needed = requiredGlibc(name.platformTags.filter((platform) => arch && platform.endsWith(arch)))
  return needed !== null && target.tags.glibc !== null && compareDotted(needed, target.tags.glibc) > 0
}

function judgeTorch(labels: LocalLabels, target: Target, verdict: Verdict): void {
  if (labels.torch === null) return
  const torch = target.fingerprint.torch?.version
  if (torch === undefined) return void verdict.reasons.push('TORCH_MINOR')
  if (labels.torch_match === 'minimum') {
    if (compareDotted(torch, labels.torch) < 0) verdict.reasons.push('TORCH_MIN')
    return
  }
  const same = labels.torch_candidates.find((candidate) => minor(candidate) === minor(torch))
  if (!same) verdict.reasons.push('TORCH_MINOR')
  else if (same.split('.').length > 2 && same !== torch) verdict.warnings.push('TORCH_PATCH')
}

function judgeBackend({ backend, cuda: built }: LocalLabels, target: Target, verdict: Verdict): void {
  const { torch, cuda } = target.fingerprint
  const here = torch?.cuda ?? (torch ? null : cuda?.version) ?? null
  if (backend === null) return
  const serves = { cuda: here !== null, rocm: Boolean(torch?.hip), cpu: here === null && !torch?.hip }[backend] ?? false
  if (!serves) return void verdict.reasons.push('BACKEND')
  if (built === null || here === null) return
  const [wantMajor = 0, wantMinor] = numbers(built)
  const [major = 0, minorHere] = numbers(here)
  if (wantMajor !== major) verdict.reasons.push('CUDA_MAJOR')
  else if (wantMinor !== undefined && wantMinor !== minorHere) verdict.warnings.push('CUDA_MINOR')
  judgeDriver(wantMajor, target, verdict)
}

/** Whether a driver runs a CUDA family at all (minor-version compatibility); true for families that the table does not have. */
export function driverRuns(cudaMajor: number, driver: string, os: Target['fingerprint']['platform']['os']): boolean {
  const needed = FAMILY_DRIVER[cudaMajor]?.[os === 'windows' ? 'windows' : 'linux']
  return !needed || compareDotted(driver, needed) >= 0
}

function judgeDriver(cudaMajor: number, target: Target, verdict: Verdict): void {
  const driver = target.fingerprint.cuda?.driver
  if (driver && !driverRuns(cudaMajor, driver, target.fingerprint.platform.os)) verdict.reasons.push('DRIVER_TOO_OLD')
}

/** Compiled code for one compute capability runs on GPUs of the same major with at least its minor; every GPU must be served. */
function judgeGpu(labels: LocalLabels, target: Target, verdict: Verdict): void {
  if (labels.sm.length === 0) return
  const served = target.fingerprint.gpus.every(({ compute }) => labels.sm.some((sm) => runsOn(sm, compute)))
  if (!served) verdict.reasons.push('SM_MISSING')
}

function runsOn(sm: string, compute: string): boolean {
  const [major, least = 0] = numbers(sm)
  const [gpuMajor, gpuMinor = 0] = numbers(compute)
  return gpuMajor === major && gpuMinor >= least
}

/** What is known of a package whatever its wheels' names say (`bridge/registry/`). */
export interface PackageFacts {
  /** Its compiled code uses neither torch nor CUDA, so no label is missing from its names. */
  plain: boolean
  /** Its compiled code does not link torch: a torch in its names does not bind it. */
  torchFree: boolean
}

export const NO_FACTS: PackageFacts = { plain: false, torchFree: false }

/** Labels of a wheel as they bind it: what METADATA says of torch counts where the name is silent. */
export function bindingLabels(name: WheelName, { requiresTorch, torchFree }: Pick<Candidate, 'requiresTorch' | 'torchFree'>, facts: PackageFacts): LocalLabels {
  if (torchFree || facts.torchFree) return { ...name.labels, torch: null, torch_match: null, torch_candidates: [], unknownTorch: false }
  return name.labels.torch === null && requiresTorch !== null ? { ...name.labels, ...torchOfSpecifier(requiresTorch) } : name.labels
}

/** `==2.9.0` binds to torch 2.9, `>=2.10` is a lower bound; anything else is left to the installer. */
function torchOfSpecifier(specifier: string): Partial<LocalLabels> {
  const [, operator, version] = /^(==|>=|~=)\s*(\d+(?:\.\d+)+)$/.exec(specifier) ?? []
  if (!version) return {}
  const match = operator === '==' ? 'exact' : 'minimum'
  return { torch: version, torch_match: match, torch_candidates: [version] }
}

/** Judges a wheel's tags and labels against a machine. Specifiers and hashes are the caller's. */
export function judge(name: WheelName, target: Target, labels: LocalLabels = name.labels): Verdict {
  const { reasons, rank } = judgeTags(name, target)
  const verdict: Verdict = { reasons, warnings: [], rank }
  // torch's own wheel is not built against another torch: which one is wanted is the requirement's to say
  if (name.package !== 'torch') judgeTorch(labels, target, verdict)
  judgeBackend(labels, target, verdict)
  judgeGpu(labels, target, verdict)
  const { cxx11abi } = labels
  const here = target.fingerprint.torch?.cxx11abi ?? null
  // Windows has no dual C++ ABI: publishers write TRUE and FALSE for the same build there
  const linux = target.fingerprint.platform.os === 'linux'
  if (linux && cxx11abi !== null && here !== null && cxx11abi !== here) verdict.reasons.push('CXX11ABI')
  return verdict
}

/** Pure Python: runs everywhere, so no label is missing from it. */
export function isPurePython(name: WheelName): boolean {
  return name.platformTags.includes('any')
}

/** Whether a compiled wheel does not say what it was built against: it may be for another torch or backend. */
export function isUnlabelled(name: WheelName, labels: LocalLabels, facts: PackageFacts): boolean {
  const labelled = labels.torch !== null || (labels.backend !== null && !labels.unknownTorch)
  return !labelled && !isPurePython(name) && !facts.plain
}
