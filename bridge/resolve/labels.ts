import type { WheelLabels } from '../../schemas/wheel'
import { compareDotted } from './versions'

/** Labels, and what else a local version says that a judge uses. */
export interface LocalLabels extends WheelLabels {
  /** Compute capability that the build is for, `8.9`; null: not said. */
  sm: string | null
  /** Compact digits that fit two torch versions, both of them. */
  torch_candidates: string[]
  /** A backend other than CUDA, ROCm and CPU: `xpu`, `ascend`. */
  other_backend: string | null
}

export const NO_LABELS: LocalLabels = {
  cuda: null,
  torch: null,
  torch_match: null,
  cxx11abi: null,
  rocm: null,
  sm: null,
  torch_candidates: [],
  other_backend: null,
}

/** `cu128` → 12.8, `cu12` → 12, `cu12.8` → 12.8, `cuda130` → 13.0, `cu1281` → 12.8. */
export function cudaFromDigits(digits: string): string {
  if (digits.includes('.')) return digits.split('.').slice(0, 2).join('.')
  if (digits.length <= 2) return digits
  return `${digits.slice(0, 2)}.${digits.slice(2, 3)}`
}

/**
 * Compact torch digits. Two are `X.Y`, four are `X.YY.Z`; three are `X.Y.Z` or `X.YY`, and both are named: which of them is
 * meant can only be told from which torch exists for that CUDA (`torchMatrix.ts`).
 */
export function torchFromDigits(digits: string): string[] {
  const [a = '', b = '', c = '', d = ''] = digits
  if (digits.length === 2) return [`${a}.${b}`]
  if (digits.length === 4) return [`${a}.${b}${c}.${d}`]
  if (digits.length !== 3) return []
  return b === '1' ? [`${a}.${b}${c}`, `${a}.${b}.${c}`] : [`${a}.${b}.${c}`]
}

type Reader = (labels: LocalLabels, match: RegExpExecArray) => void

const readTorch: Reader = (labels, [, digits = '', higher]) => {
  labels.torch_candidates = digits.includes('.') ? [digits] : torchFromDigits(digits)
  labels.torch = labels.torch_candidates[0] ?? null
  if (higher) labels.torch_match = 'minimum'
  else if (labels.torch_candidates.length > 1) labels.torch_match = 'ambiguous'
  else labels.torch_match = digits.split('.').length > 2 || /^\d{3,4}$/.test(digits) ? 'exact' : 'minor'
}

/** Tokens of a local version in the order they are tried: the longest first, so that `cuda130` is not `cu` and `da130`. */
const TOKENS: [RegExp, Reader][] = [
  [/^(?:torch|pt)((?:\d+\.\d+(?:\.\d+)?(?:\.dev\d+)?)|\d{2,4})(andhigher)?/, readTorch],
  [/^cu(?:da)?(\d+\.\d+|\d{2,4})/, (labels, [, digits = '']) => (labels.cuda = cudaFromDigits(digits))],
  [/^rocm(?:sdk)?((?:\d+(?:\.\d+)*)?)/, (labels, [, version]) => (labels.rocm = version || 'unknown')],
  [/^cxx11abi(true|false|1|0)/, (labels, [, value]) => (labels.cxx11abi = value === 'true' || value === '1')],
  [/^(?:sm|arch)_?(\d{2,3})/, (labels, [, sm = '']) => (labels.sm = `${sm.slice(0, -1)}.${sm.slice(-1)}`)],
  [/^cpu/, (labels) => (labels.cuda = 'cpu')],
  [/^(xpu|ascend|npu|vulkan|metal)(?![a-z])/, (labels, [, backend]) => (labels.other_backend = backend ?? null)],
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
    const skip = match?.[0].length ?? Math.max(1, rest.slice(1).search(/[._]|(?:torch|pt|cu)\d/) + 1)
    rest = rest.slice(skip).replace(/^[._]/, '')
  }
  return settleTorch(labels)
}

/**
 * Three digits that fit two torch versions, settled by the CUDA beside them: torch 2.1.x was built for CUDA 11.8 and 12.1 only,
 * torch 2.10 and later for 12.6 and later only (the index pages of PyTorch's own wheels). Without a CUDA both stay.
 */
function settleTorch(labels: LocalLabels): LocalLabels {
  if (labels.torch_match !== 'ambiguous' || !labels.cuda?.includes('.')) return labels
  const old = compareDotted(labels.cuda, '12.4') < 0
  const torch = labels.torch_candidates.find((candidate) => (candidate.split('.').length === 3) === old) ?? null
  return { ...labels, torch, torch_candidates: torch ? [torch] : [], torch_match: old ? 'exact' : 'minor' }
}
