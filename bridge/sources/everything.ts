import { packageFacts } from '../registry/registry'
import type { CandidatesFor, Wanted } from '../resolve/finder'
import { pick } from '../resolve/pick'
import { parseRequirement, type Requirement } from '../resolve/requirement'
import type { Target } from '../resolve/target'
import { gather } from './gather'
import { lookFor, type ResolveOptions } from './resolve'
import type { Source } from './source'

/** Whether what a source lists depends on the machine it is asked for. */
const dependsOnMachine = ({ address, kind }: Source): boolean => kind === 'default' || address.includes('{')

/**
 * Everything that the sources list of several requirements, read once; and a way to ask machine-bound sources (templates, pages
 * by CUDA) again for another machine, where the lists have nothing that fits it.
 */
export async function gatherForAll(texts: readonly string[], target: Target, options: ResolveOptions): Promise<{ requirements: Wanted[]; candidatesFor: CandidatesFor }> {
  const requirements = texts.map((text): Wanted => {
    const requirement = parseRequirement(text)
    return { requirement, facts: packageFacts(requirement.name) }
  })
  const bound = options.sources.filter(dependsOnMachine)
  const listed = new Map<Requirement, Awaited<ReturnType<typeof lookFor>>['candidates']>()
  for (const { requirement } of requirements) {
    const free = { ...options, sources: options.sources.filter((source) => !dependsOnMachine(source)) }
    const { candidates } = await lookFor(requirement, target, free, () => true)
    listed.set(requirement, candidates.filter(({ missing }) => !missing))
  }
  const candidatesFor: CandidatesFor = async (requirement, there) => {
    const known = listed.get(requirement) ?? []
    if (bound.length === 0 || pick(requirement, known, there, packageFacts(requirement.name)).status === 'found') return known
    const { candidates } = await gather(bound, requirement, there, options)
    return [...known, ...candidates]
  }
  return { requirements, candidatesFor }
}
