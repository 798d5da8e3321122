import { packageFacts } from '../registry/registry'
import type { Candidate } from '../resolve/candidate'
import { isUnlabelled } from '../resolve/judge'
import type { Requirement } from '../resolve/requirement'
import { tagRank } from '../resolve/tags'
import type { Target } from '../resolve/target'
import { compareVersions, meets } from '../resolve/versions'
import type { GatherOptions } from './gather'
import { remoteMetadata, torchPin } from './wheelMetadata'

/** So many wheels are looked into at most: the newest versions. */
const MOST = 6

/**
 * Reads METADATA of wheels whose names do not say which torch they need (xformers and others pin it there only), so that they
 * can be judged before anything is downloaded. What cannot be read stays unlabelled.
 */
export async function readTorchPins(candidates: Candidate[], requirement: Requirement, target: Target, options: GatherOptions): Promise<Candidate[]> {
  const facts = packageFacts(requirement.name)
  const silent = candidates
    .filter(({ name, missing }) => name && !missing && isUnlabelled(name, name.labels, facts))
    .filter(({ name }) => name && tagRank(name, target.ranks) !== null && meets(name.version, requirement.specifier))
    .sort((a, b) => compareVersions(b.name?.version ?? '', a.name?.version ?? ''))
    .slice(0, MOST)
  const pins = new Map<Candidate, string | null>()
  await Promise.all(
    silent.map(async (candidate) => {
      const metadata = await remoteMetadata(candidate, options.http, options.signal).catch(() => null)
      pins.set(candidate, metadata === null ? null : torchPin(metadata))
    }),
  )
  return candidates.map((candidate) => ({ ...candidate, requiresTorch: pins.get(candidate) ?? candidate.requiresTorch }))
}
