import type { ReasonCode, Rejection, Resolution } from '../../schemas/wheel'
import type { Candidate } from './candidate'
import { isLabelled, isPurePython, judge } from './judge'
import { combinations, nearest } from './nearest'
import type { Requirement } from './requirement'
import type { Target } from './target'
import { compareVersions, isPrerelease, meets, minor, numbers } from './versions'
import type { WheelName } from './wheelName'

interface Judged {
  candidate: Candidate
  name: WheelName | null
  reasons: ReasonCode[]
  warnings: ReasonCode[]
  rank: number
  /** Position in the list that the sources gave: earlier sources come first. */
  place: number
}

type Fitting = Judged & { name: WheelName }

function judgeCandidate(candidate: Candidate, requirement: Requirement, target: Target, place: number): Judged {
  const { name } = candidate
  if (!name) return { candidate, name, reasons: ['INVALID_NAME'], warnings: [], rank: Infinity, place }
  const verdict = judge(name, target)
  const reasons = [...verdict.reasons]
  const full = name.local === null ? name.version : `${name.version}+${name.local}`
  if (!meets(full, requirement.specifier)) reasons.unshift('VERSION')
  if (candidate.missing) reasons.push('NOT_FOUND')
  if (candidate.yanked && !requirement.specifier.startsWith('==')) reasons.push('YANKED')
  return { candidate, name, reasons, warnings: verdict.warnings, rank: verdict.rank ?? Infinity, place }
}

/** How surely a wheel is the right build: labelled, then pure Python. Unlabelled native builds never get this far. */
const confidence = (name: WheelName): number => (isLabelled(name) ? 0 : 1)

function cudaDistance({ labels }: WheelName, target: Target): number {
  const here = target.fingerprint.torch?.cuda ?? target.fingerprint.cuda?.version
  if (!here || !labels.cuda || labels.cuda === 'cpu') return 0
  const [, wanted] = numbers(labels.cuda)
  const [, minorHere = 0] = numbers(here)
  return wanted === undefined ? 0.5 : Math.abs(wanted - minorHere)
}

function torchDistance({ labels }: WheelName, target: Target): number {
  const here = target.fingerprint.torch?.version
  if (!here || !labels.torch) return 3
  if (labels.torch === here) return 0
  return labels.torch_match === 'minimum' ? 2 : Number(minor(labels.torch) !== minor(here)) + 0.5
}

function buildNumber(name: WheelName): number {
  const post = /post(\d+)/.exec(name.local ?? '')?.[1]
  return Number.parseInt(name.build ?? post ?? '0', 10)
}

/** Order of wheels that all fit: the surest label first, then the version, then the least distance from this machine. */
function better(target: Target): (a: Fitting, b: Fitting) => number {
  return (a, b) =>
    confidence(a.name) - confidence(b.name) ||
    Number(isPrerelease(a.name.version)) - Number(isPrerelease(b.name.version)) ||
    compareVersions(b.name.version, a.name.version) ||
    cudaDistance(a.name, target) - cudaDistance(b.name, target) ||
    torchDistance(a.name, target) - torchDistance(b.name, target) ||
    a.rank - b.rank ||
    buildNumber(b.name) - buildNumber(a.name) ||
    a.place - b.place ||
    Number(a.candidate.sha256 === null) - Number(b.candidate.sha256 === null)
}

function rejection({ candidate, reasons }: Judged): Rejection {
  return { filename: candidate.filename, url: candidate.url, reasons }
}

/**
 * Chooses the wheel for a requirement, and keeps why each other one was refused. Nothing fits: `status` is `none`, with what
 * exists and the least change that would help.
 */
export function pick(requirement: Requirement, candidates: Candidate[], target: Target): Resolution {
  const judged = candidates.map((candidate, place) => judgeCandidate(candidate, requirement, target, place))
  // A native build that does not say what it was built against may be for another backend: never chosen silently
  for (const entry of judged) {
    const silent = entry.name && !isLabelled(entry.name) && !isPurePython(entry.name)
    if (silent && entry.reasons.length === 0) entry.reasons.push('UNLABELLED')
  }
  const fitting = judged.filter((entry): entry is Fitting => entry.name !== null && entry.reasons.length === 0)
  const [best] = fitting.sort(better(target))
  const refused = judged.filter((entry) => entry.reasons.length > 0)
  return {
    requirement: requirement.text,
    package: requirement.name,
    version: best?.name.version ?? null,
    status: best ? 'found' : 'none',
    url: best?.candidate.url ?? null,
    filename: best?.candidate.filename ?? null,
    sha256: best?.candidate.sha256 ?? null,
    source: best?.candidate.source ?? null,
    warnings: best?.warnings ?? [],
    rejected: refused.map(rejection),
    available: best ? [] : combinations(candidates.filter(({ missing }) => !missing)),
    nearest: best ? [] : nearest(refused, target),
  }
}
