import type { EnvCombination } from '../../schemas/env'
import type { Fingerprint } from '../../schemas/host'
import { rankedTags, type TagTarget } from './tags'
import { compareVersions, minor } from './versions'

/** What a candidate is judged against: the fingerprint, and the tag ranks made from it once. */
export interface Target {
  fingerprint: Fingerprint
  tags: TagTarget
  ranks: Map<string, number>
}

/** Ranks are long lists and the same for every torch. */
const RANKS = new Map<string, Map<string, number>>()

function ranksOf(tags: TagTarget): Map<string, number> {
  const key = JSON.stringify(tags)
  const known = RANKS.get(key) ?? rankedTags(tags)
  RANKS.set(key, known)
  return known
}

/** The machine with another Python, torch and CUDA on it: what the wheels of a sealed env are judged against. */
export function withCombination(fingerprint: Fingerprint, { python, torch, cuda }: EnvCombination): Fingerprint {
  const tag = `cp${minor(python).replace('.', '')}`
  const cxx11abi = compareVersions(torch, '2.7') >= 0 ? true : null
  return {
    ...fingerprint,
    python: { ...fingerprint.python, version: python, tag, abi: tag },
    torch: { version: torch, cuda, hip: null, cxx11abi, source: 'a sealed environment' },
    cuda: fingerprint.cuda && { ...fingerprint.cuda, version: cuda },
  }
}

export function makeTarget(fingerprint: Fingerprint): Target {
  const { python, platform } = fingerprint
  const tags: TagTarget = {
    python: minor(python.version),
    freeThreaded: python.abi.endsWith('t'),
    platform: platform.tag,
    glibc: platform.glibc,
  }
  return { fingerprint, tags, ranks: ranksOf(tags) }
}
