import type { Combination, Nearest, ReasonCode } from '../../schemas/wheel'
import type { Candidate } from './candidate'
import type { LocalLabels } from './labels'
import { platformFamily, requiredGlibc } from './tags'
import type { Target } from './target'
import { compareVersions, minor, numbers } from './versions'
import type { WheelName } from './wheelName'

/**
 * What a change costs the user, in the order that hurts: another torch is a reinstall, another CUDA major a reinstall of
 * everything built on it, another Python a new environment. Another system is never proposed.
 */
const COST = { torch: 3, cuda: 4, cxx11abi: 4, driver: 5, confirm: 6, glibc: 8, python: 10 } as const
const TORCH_STEP = 0.1
const SHOWN = 5

/** Reasons that a change of this machine removes, and the change; null: no change removes it. */
const CHANGES: Partial<Record<ReasonCode, (labels: LocalLabels, target: Target, name: WheelName) => Record<string, string> | null>> = {
  // a CPU build of torch on a machine with an NVIDIA driver: the CUDA build of torch is what is missing
  BACKEND: (labels, { fingerprint }) => {
    return fingerprint.cuda?.driver && labels.backend === 'cuda' && labels.cuda ? { cuda: labels.cuda } : null
  },
  TORCH_MINOR: (labels) => (labels.torch ? { torch: labels.torch } : null),
  TORCH_MIN: (labels) => (labels.torch ? { torch: `>=${labels.torch}` } : null),
  CUDA_MAJOR: (labels) => (labels.cuda ? { cuda: labels.cuda } : null),
  DRIVER_TOO_OLD: (labels) => (labels.cuda ? { driver: `for CUDA ${labels.cuda}` } : null),
  GLIBC: (_labels, _target, { platformTags }) => ({ glibc: requiredGlibc(platformTags) ?? 'newer' }),
  CXX11ABI: (labels) => ({ cxx11abi: String(labels.cxx11abi) }),
  TAG_PYTHON: (_labels, _target, name) => ({ python: pythonOf(name) }),
  TAG_ABI: (_labels, _target, name) => ({ python: pythonOf(name) }),
  UNLABELLED: () => ({ confirm: 'it does not say what it was built for' }),
}

function pythonOf({ pythonTags, abiTags }: WheelName): string {
  const digits = /\d+/.exec(pythonTags[0] ?? '')?.[0] ?? '3'
  const version = digits.length > 1 ? `${digits[0]}.${digits.slice(1)}` : digits
  const threaded = abiTags.some((abi) => /^cp\d+t$/.test(abi)) ? ' free-threaded' : ''
  return `${abiTags.includes('abi3') ? '>=' : ''}${version}${threaded}`
}

function costOf(change: Record<string, string>, target: Target): number {
  let cost = 0
  for (const key of Object.keys(change)) {
    cost += COST[key as keyof typeof COST]
  }
  const here = target.fingerprint.torch?.version
  if (change.torch && here && !change.torch.startsWith('>=')) {
    const [, from = 0] = numbers(minor(here))
    const [, to = 0] = numbers(minor(change.torch))
    cost += Math.abs(from - to) * TORCH_STEP
  }
  return Math.round(cost * 10) / 10
}

/** A wheel with what binds it and why it was refused. */
interface Refused {
  candidate: Candidate
  labels: LocalLabels
  reasons: ReasonCode[]
}

/** The refused candidates that the least change would make fit, cheapest first; one per change. */
export function nearest(refused: Refused[], target: Target): Nearest[] {
  const byChange = new Map<string, Nearest & { version: string }>()
  for (const { candidate, labels, reasons } of refused) {
    const { name } = candidate
    if (!name) continue
    const change: Record<string, string> = {}
    const possible = reasons.every((reason) => {
      const needed = CHANGES[reason]?.(labels, target, name)
      return needed && Object.assign(change, needed)
    })
    if (!possible) continue
    const entry = { change, filename: candidate.filename, cost: costOf(change, target), version: name.version }
    const key = JSON.stringify(change)
    const known = byChange.get(key)
    if (!known || compareVersions(entry.version, known.version) > 0) byChange.set(key, entry)
  }
  return [...byChange.values()]
    .sort((a, b) => a.cost - b.cost || compareVersions(b.version, a.version) || compareVersions(b.change.torch ?? '0', a.change.torch ?? '0') || a.filename.localeCompare(b.filename))
    .slice(0, SHOWN)
    .map(({ change, filename, cost }) => ({ change, filename, cost }))
}

/** The combinations for which wheels exist, without repeats, newest version first. */
export function combinations(candidates: Candidate[]): Combination[] {
  const found = new Map<string, Combination>()
  for (const { name } of candidates) {
    if (!name) continue
    for (const platform of new Set(name.platformTags.map(platformFamily))) {
      const { torch, cuda } = name.labels
      const combination = { python: pythonOf(name), torch, cuda, platform, version: name.version }
      found.set(JSON.stringify(combination), combination)
    }
  }
  return [...found.values()].sort(
    (a, b) =>
      compareVersions(b.version, a.version) ||
      compareVersions(b.torch ?? '0', a.torch ?? '0') ||
      compareVersions(b.cuda ?? '0', a.cuda ?? '0') ||
      `${a.platform} ${a.python}`.localeCompare(`${b.platform} ${b.python}`),
  )
}
