import type { WheelLabels } from '../../schemas/wheel'
import { compareDotted } from './versions'

/** Labels, and what else a local version says that a judge uses. */
export interface LocalLabels extends WheelLabels {
  /** Compute capabilities that the build is for, `8.9`; empty: not said. */
  sm: string[]
  /** Compact digits that fit two torch versions, both of them. */
  torch_candidates: string[]
  /** It names a torch, but not by a version of torch: a vendor's container release. */
  unknownTorch: boolean
}

export const NO_LABELS: LocalLabels = {
  cuda: null,
  torch: null,
  torch_match: null,
  cxx11abi: null,
  rocm: null,
  sm: [],
  torch_candidates: [],
  unknownTorch: false,
  backend: null,
}

/** `cu128` → 12.8, `cu12` → 12, `cu12.8` → 12.8, `cuda130` → 13.0, `cu1281` → 12.8. */
export function cudaFromDigits(digits: string): string {
  if (digits.includes('.')) return digits.split('.').slice(0, 2).join('.')
  if (digits.length <= 2) return digits
  return `${digits.slice(0, 2)}.${digits.slice(2, 3)}`
}

/** Patch releases of the minors that three digits can mean as well: torch 1.1.0, 2.1.0 to 2.1.2 (PyTorch's releases). */
const OLD_PATCHES: Record<string, number> = { '1.1': 0, '2.1': 2 }

/**
 * Compact torch digits. Two are `X.Y`, four are `X.YY.Z`; three are `X.Y.Z` or `X.YY`, and both are named where both exist:
 * which of them is meant can only be told from what stands beside them (`settleTorch`).
 */
export function torchFromDigits(digits: string): string[] {
  const [a = '', b = '', c = '', d = ''] = digits
  if (digits.length === 2) return [`${a}.${b}`]
  if (digits.length === 4) return [`${a}.${b}${c}.${d}`]
  if (digits.length !== 3) return []
  if (b !== '1') return [`${a}.${b}.${c}`]
  const old = Number(c) <= (OLD_PATCHES[`${a}.1`] ?? -1)
  return [`${a}.${b}${c}`, ...(old ? [`${a}.${b}.${c}`] : [])]
}

type Reader = (labels: LocalLabels, match: RegExpExecArray) => void

/** A vendor's container releases are counted by year and month (NVIDIA's `25.11`): which torch is in one, its number does not say. */
const isContainerRelease = (digits: string): boolean => digits.includes('.') && Number.parseInt(digits, 10) >= 20

const readTorch: Reader = (labels, [, digits = '', higher]) => {
  labels.unknownTorch = isContainerRelease(digits)
  if (labels.unknownTorch) return
  labels.torch_candidates = digits.includes('.') ? [digits] : torchFromDigits(digits)
  labels.torch = labels.torch_candidates[0] ?? null
  if (higher) labels.torch_match = 'minimum'
  else if (labels.torch_candidates.length > 1) labels.torch_match = 'ambiguous'
  else labels.torch_match = (labels.torch ?? '').split('.').length > 2 ? 'exact' : 'minor'
}

const readCuda: Reader = (labels, [, digits = '']) => {
  labels.cuda = cudaFromDigits(digits)
  labels.backend = 'cuda'
}

const readRocm: Reader = (labels, [, version]) => {
  labels.rocm = version || 'unknown'
  labels.backend = 'rocm'
}

/** Each compute capability of a list: `sm90`, `sm80_86_90a`, `sm80.sm86`. */
const readSm: Reader = (labels, [list]) => {
  const digits = [...list.matchAll(/\d{2,3}/g)].map(([sm]) => `${sm.slice(0, -1)}.${sm.slice(-1)}`)
  labels.sm = [...new Set([...labels.sm, ...digits])]
}

const readBackend: Reader = (labels, [, backend]) => (labels.backend ??= backend ?? null)

/** What `sm` stands before is a compute capability, whichever; what follows is another one only if it looks like one, since a date or a build may follow too. */
const SUFFIX = '(?:[af](?![a-z]))?(?!\\d)'
const CAPABILITIES = `\\d{2,3}${SUFFIX}(?:[-_.](?:sm[-_]?\\d{2,3}|[3-9]\\d|1[0-3]\\d)${SUFFIX})*`

/** Tokens of a local version in the order they are tried: the longest first, so that `cuda130` is not `cu` and `da130`. */
const TOKENS: [RegExp, Reader][] = [
  [/^(?:torch|pt)((?:\d+\.\d+(?:\.\d+)?(?:\.dev\d+)?)|\d{2,4})(andhigher)?/, readTorch],
  [/^(?:torch|pt)[-_.](\d\.\d+(?:\.\d+)?)(?!\d)/, readTorch],
  [/^cu(?:da)?(\d+\.\d+|\d{2,4})/, readCuda],
  [/^cu(?:da)?[-_.](\d{2}\.\d|\d{2,3})(?!\d)/, readCuda],
  [/^rocm(?:sdk)?(\d+(?:\.\d+)*)/, readRocm],
  [/^rocm(?:sdk)?(?:[-_.](\d{1,2}(?:\.\d+)*)(?!\d))?/, readRocm],
  [/^cxx11abi(true|false|1|0)/, (labels, [, value]) => (labels.cxx11abi = value === 'true' || value === '1')],
  [new RegExp(`^(?:sm|arch)[-_]?${CAPABILITIES}`), readSm],
  [/^(cpu|xpu|ascend|npu|vulkan|metal)(?=$|[^a-z]|torch|pt\d|cxx)/, readBackend],
  [/^(?:git[0-9a-f]+|post\d+|d?\d{8})/, () => undefined],
]

/** Reads a local version (the part behind `+`) by the grammar of its publishers. What it does not know it passes over. */
export function parseLocal(local: string): LocalLabels {
  const labels: LocalLabels = { ...NO_LABELS }
  let rest = local.toLowerCase()
  while (rest) {
    const found = TOKENS.map(([pattern, read]) => [pattern.exec(rest), read] as const).find(([match]) => match)
    const match = found?.[0]
    if (found && match) found[1](labels, match)
    // an unknown token ends at the next separator, or where a known one begins (a hash glued to a label)
    const skip = match?.[0].length ?? Math.max(1, rest.slice(1).search(/[+._]|(?:torch|pt|cu)\d/) + 1)
    rest = rest.slice(skip).replace(/^[+._]/, '')
  }
  return labels
}

/** The same facts where a publisher writes them into folders or release tags: `torch-2.4.1_cu118/`, `CUDA 13.1/`, `v0.3.19-cu122/`. */
const PATH_TOKENS: [RegExp, Reader][] = [
  [/(?:^|[^a-z])(?:torch|pytorch|pyt|pt)[-_ ]?(\d+\.\d+(?:\.\d+)?|\d{2,4})(?!\d|\.\d)/, readTorch],
  [/(?:^|[^a-z])cu(?:da)?[-_ ]?(\d+\.\d+|\d{2,4})(?!\d|\.\d)/, readCuda],
  [/(?:^|[^a-z])rocm(?:[-_ ]?(?:rel[-_])?(\d+(?:\.\d+)*))?(?![a-z])/, readRocm],
  [new RegExp(`(?:^|[^a-z])sm[-_]?${CAPABILITIES}`), readSm],
  [/(?:^|[-_.])(cpu|xpu|vulkan|metal)$/, readBackend],
]

/** Adds what the folders of an address say to what the name says; the name wins. */
export function withPathLabels(labels: LocalLabels, folders: readonly string[]): LocalLabels {
  const found: LocalLabels = { ...NO_LABELS }
  for (const folder of folders) {
    for (const [pattern, read] of PATH_TOKENS) {
      const match = pattern.exec(folder.toLowerCase())
      if (match) read(found, match)
    }
  }
  const merged = { ...labels, sm: labels.sm.length > 0 ? labels.sm : found.sm }
  const { torch, torch_match, torch_candidates, unknownTorch, cuda, rocm, backend } = found
  if (labels.torch === null && !labels.unknownTorch) Object.assign(merged, { torch, torch_match, torch_candidates, unknownTorch })
  if (labels.backend === null) Object.assign(merged, { cuda, rocm, backend })
  return merged
}

/**
 * Digits that fit two torch versions, settled by what stands beside them: torch 2.1 was built for CUDA 11.8 and 12.1 and for
 * Python up to 3.11 only, torch 2.10 and later for CUDA 12.6 and Python 3.10 and later only (the index pages of PyTorch's own
 * wheels). If nothing tells, both stay.
 */
export function settleTorch(labels: LocalLabels, python: string | null): LocalLabels {
  if (labels.torch_match !== 'ambiguous') return labels
  const old = isOldTorch(labels.cuda, python)
  if (old === null) return labels
  const torch = labels.torch_candidates.find((candidate) => (candidate.split('.').length === 3) === old) ?? null
  return { ...labels, torch, torch_candidates: torch ? [torch] : [], torch_match: old ? 'exact' : 'minor' }
}

function isOldTorch(cuda: string | null, python: string | null): boolean | null {
  if (cuda?.includes('.')) return compareDotted(cuda, '12.4') < 0
  if (python === null) return null
  if (compareDotted(python, '3.11') > 0) return false
  return compareDotted(python, '3.10') < 0 ? true : null
}
