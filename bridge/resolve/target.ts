import type { Fingerprint } from '../../schemas/host'
import { rankedTags, type TagTarget } from './tags'
import { minor } from './versions'

/** What a candidate is judged against: the fingerprint, and the tag ranks made from it once. */
export interface Target {
  fingerprint: Fingerprint
  tags: TagTarget
  ranks: Map<string, number>
}

export function makeTarget(fingerprint: Fingerprint): Target {
  const { python, platform } = fingerprint
  const tags: TagTarget = {
    python: minor(python.version),
    freeThreaded: python.abi.endsWith('t'),
    platform: platform.tag,
    glibc: platform.glibc,
  }
  return { fingerprint, tags, ranks: rankedTags(tags) }
}
