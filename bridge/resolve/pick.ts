import type { ReasonCode, Rejection, Resolution } from '../../schemas/wheel'
import type { Candidate } from './candidate'
import { bindingLabels, isPurePython, isUnlabelled, judge, NO_FACTS, type PackageFacts } from './judge'
import { type LocalLabels, NO_LABELS } from './labels'
import { combinations, nearest } from './nearest'
import type { Requirement } from './requirement'
import type { Target } from './target'
import { compareVersions, isPrerelease, meets, minor, numbers } from './versions'
import type { WheelName } from './wheelName'

interface Judged {
  candidate: Candidate
  name: WheelName | null
  labels: LocalLabels
  reasons: ReasonCode[]
  warnings: ReasonCode[]
  rank: number
  /** Position in the list that the sources gave: earlier sources come first. */
  place: number
}

type Fitting = Judged & { name: WheelName }

function judgeCandidate(candidate: Candidate, requirement: Requirement, target: Target, facts: PackageFacts, place: number): Judged {
  const { name } = candidate
  if (!name) return { candidate, name, labels: NO_LABELS, reasons: ['INVALID_NAME'], warnings: [], rank: Infinity, place }
  const labels = bindingLabels(name, candidate, facts)
  const verdict = judge(name, target, labels)
  const reasons = [...verdict.reasons]
  const full = name.local === null ? name.version : `${name.version}+${name.local}`
  if (!meets(full, requirement.specifier)) reasons.unshift('VERSION')
  if (candidate.missing) reasons.push('NOT_FOUND')
  if (candidate.foreignHost) reasons.push('HOST_NOT_ALLOWED')
  if (candidate.yanked && !requirement.specifier.startsWith('==')) reasons.push('YANKED')
  if (isUnlabelled(name, labels, facts)) reasons.push('UNLABELLED') // never chosen silently
  return { candidate, name, labels, reasons, warnings: verdict.warnings, rank: verdict.rank ?? Infinity, place }
}

/** A compiled build comes before a pure Python one of the same package. Unlabelled compiled builds never get this far. */
const confidence = (name: WheelName): number => Number(isPurePython(name))

function cudaDistance(labels: LocalLabels, target: Target): number {
  const here = target.fingerprint.torch?.cuda ?? target.fingerprint.cuda?.version
  if (!here || !labels.cuda) return 0
  const [, wanted] = numbers(labels.cuda)
  const [, minorHere = 0] = numbers(here)
  return wanted === undefined ? 0.5 : Math.abs(wanted - minorHere)
}

function torchDistance(labels: LocalLabels, target: Target): number {
  const here = target.fingerprint.torch?.version
  if (!here || !labels.torch) return 3
  if (labels.torch === here) return 0
  return labels.torch_match === 'minimum' ? 2 : Number(minor(labels.torch) !== minor(here)) + 0.5
}

function buildNumber(name: WheelName): number {
  const post = /post(\d+)/.exec(name.local ?? '')?.[1]
  return Number.parseInt(name.build ?? post ?? '0', 10)
}

/** Order of wheels that all fit: compiled before pure Python, then the version, then the least distance from this machine. */
function better(target: Target): (a: Fitting, b: Fitting) => number {
  return (a, b) =>
    confidence(a.name) - confidence(b.name) ||
    Number(isPrerelease(a.name.version)) - Number(isPrerelease(b.name.version)) ||
    compareVersions(b.name.version, a.name.version) ||
    cudaDistance(a.labels, target) - cudaDistance(b.labels, target) ||
    torchDistance(a.labels, target) - torchDistance(b.labels, target) ||
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
export function pick(requirement: Requirement, candidates: Candidate[], target: Target, facts = NO_FACTS): Resolution {
  const judged = candidates.map((candidate, place) => judgeCandidate(candidate, requirement, target, facts, place))
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
