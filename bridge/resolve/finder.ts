import type { EnvCombination } from '../../schemas/env'
import type { EnvOffer } from '../../schemas/wheel'
import type { Candidate } from './candidate'
import { driverRuns, type PackageFacts } from './judge'
import { pick } from './pick'
import type { Requirement } from './requirement'
import { makeTarget, type Target, withCombination } from './target'
import { torchBuilds, torchServes } from './torchBuilds'
import { compareVersions, minor, numbers } from './versions'

/** A pack's wish that a combination must meet; null: no wish. */
export interface Wishes {
  pythonVersion: string | null
  torchVersion: string | null
  cudaVersion: string | null
}

export interface Wanted {
  requirement: Requirement
  facts: PackageFacts
}

/** Wheels of a requirement that are worth judging for a machine: all that lists name, and what templates make for it. */
export type CandidatesFor = (requirement: Requirement, target: Target) => Promise<Candidate[]>

const OFFERS = 8
/** Combinations that are looked at closely: each may cost requests where a publisher has no list of its wheels. */
const MOST_TRIED = 600

/** Whether this machine runs CUDA at all; if not, torch for the CPU is what it can have. */
function hasCuda({ fingerprint }: Target): boolean {
  return fingerprint.gpus.length > 0 || Boolean(fingerprint.torch?.cuda ?? fingerprint.cuda?.driver ?? fingerprint.cuda?.version)
}

/** Whether the GPUs and the driver can run a combination's torch. */
function runsHere(combination: EnvCombination, { fingerprint }: Target): boolean {
  const { cuda } = combination
  if (cuda === null) return true
  const driver = fingerprint.cuda?.driver ?? null
  if (driver !== null && !driverRuns(numbers(cuda)[0] ?? 0, driver, fingerprint.platform.os)) return false
  return fingerprint.gpus.every(({ compute }) => torchServes(combination, fingerprint.platform.arch, compute) !== false)
}

const meetsWish = (wish: string | null, value: string): boolean => wish === null || `${value}.`.startsWith(`${wish.split('+')[0]}.`)

function meetsWishes({ python, torch, cuda }: EnvCombination, wishes: Wishes): boolean {
  const pythonWish = wishes.pythonVersion === null ? null : minor(wishes.pythonVersion)
  return meetsWish(pythonWish, python) && meetsWish(wishes.torchVersion, torch) && meetsWish(wishes.cudaVersion, cuda ?? 'none')
}

/**
 * How far a combination is from ComfyUI's own: another Python must be fetched, another CUDA major and another torch cannot share
 * GPU memory with ComfyUI by handle. Lower is better.
 */
function distance({ python, torch, cuda }: EnvCombination, { fingerprint, tags }: Target): number {
  const own = fingerprint.torch
  const [, torchMinor = 0] = numbers(torch)
  const [, ownMinor = torchMinor] = numbers(own?.version ?? torch)
  const [major = 0, cudaMinor = 0] = numbers(cuda ?? '0')
  const [ownMajor = major, ownCudaMinor = cudaMinor] = numbers(own?.cuda ?? cuda ?? '0')
  const cost =
    Number(python !== tags.python) * 2 +
    Number(major !== ownMajor) * 1 +
    Number(cudaMinor !== ownCudaMinor) * 0.05 +
    Number(torch !== own?.version) * 0.5 +
    Math.abs(torchMinor - ownMinor) * 0.1
  return Math.round(cost * 100) / 100
}

function candidatesOfMachine(target: Target, wishes: Wishes): { combination: EnvCombination; cost: number }[] {
  return torchBuilds(target.fingerprint.platform, !hasCuda(target))
    .filter((combination) => meetsWishes(combination, wishes) && runsHere(combination, target))
    .map((combination) => ({ combination, cost: distance(combination, target) }))
    .sort((a, b) => a.cost - b.cost || compareVersions(b.combination.torch, a.combination.torch))
    .slice(0, MOST_TRIED)
}

async function offerOf(combination: EnvCombination, cost: number, wanted: Wanted[], candidatesFor: CandidatesFor, target: Target): Promise<EnvOffer | null> {
  const there = makeTarget(withCombination(target.fingerprint, combination))
  const wheels: EnvOffer['wheels'] = []
  let warnings = 0
  for (const { requirement, facts } of wanted) {
    const { status, filename, version, url, warnings: told } = pick(requirement, await candidatesFor(requirement, there), there, facts)
    if (status !== 'found') return null
    wheels.push({ requirement: requirement.text, filename: filename ?? '', version: version ?? '', url: url ?? '' })
    warnings += told.length
  }
  return { combination, wheels, cost: Math.round((cost + warnings * 0.02) * 100) / 100 }
}

/** Of patch releases that serve alike, the nearest is enough. */
const family = ({ combination: { python, torch, cuda } }: EnvOffer): string => [python, minor(torch), cuda].join(' ')

/**
 * The combinations of Python, torch and CUDA for which every wanted wheel exists and which this machine's GPUs and driver run,
 * nearest to ComfyUI's own first. Empty: there is none.
 */
export async function findCombinations(wanted: Wanted[], candidatesFor: CandidatesFor, target: Target, wishes: Wishes): Promise<EnvOffer[]> {
  const found = new Map<string, EnvOffer>()
  for (const { combination, cost } of candidatesOfMachine(target, wishes)) {
    const offer = await offerOf(combination, cost, wanted, candidatesFor, target)
    const known = offer && found.get(family(offer))
    if (offer && (!known || offer.cost < known.cost)) found.set(family(offer), offer)
    if (found.size > OFFERS) break
  }
  return [...found.values()].sort((a, b) => a.cost - b.cost).slice(0, OFFERS)
}
