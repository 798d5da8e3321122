import type { BridgeError } from '../errors/bridgeError'
import { builtInSources, packageFacts } from '../registry/registry'
import type { Candidate } from '../resolve/candidate'
import type { CandidatesFor, Wanted } from '../resolve/finder'
import { pick } from '../resolve/pick'
import { parseRequirement, type Requirement } from '../resolve/requirement'
import type { Target } from '../resolve/target'
import { gather } from './gather'
import { lookFor, type ResolveOptions } from './resolve'
import type { Source } from './source'

/** Whether what a source lists depends on the machine it is asked for. */
const dependsOnMachine = ({ address }: Source): boolean => address.includes('{')

/** Sources that are asked for each machine anew. uv's own index is not: each question of it takes a second. */
function boundSources(name: string, { sources, registry }: ResolveOptions): Source[] {
  const all = [...sources, ...(registry ? builtInSources(name) : [])]
  return all.filter((source) => dependsOnMachine(source) && source.kind !== 'default')
}

/** What sources have for several requirements, for any machine. */
export interface Everything {
  wanted: Wanted[]
  candidatesFor: CandidatesFor
  /** Why "there is nothing" would not be known: sources that did not answer. */
  unanswered: BridgeError[]
}

/**
 * Everything that the sources list of several requirements, read once; and a way to ask machine-bound sources (templates, pages
 * by CUDA) again for another machine, where the lists have nothing that fits it.
 */
export async function gatherForAll(texts: readonly string[], target: Target, options: ResolveOptions): Promise<Everything> {
  const wanted = texts.map((text): Wanted => {
    const requirement = parseRequirement(text)
    return { requirement, facts: packageFacts(requirement.name) }
  })
  const free = { ...options, sources: options.sources.filter((source) => !dependsOnMachine(source)) }
  const unanswered: BridgeError[] = []
  const listed = new Map<Requirement, Candidate[]>()
  for (const { requirement } of wanted) {
    const { candidates, errors, hints } = await lookFor(requirement, target, free, () => true)
    listed.set(requirement, candidates.filter(({ missing }) => !missing))
    unanswered.push(...errors, ...(candidates.length === 0 ? hints : []))
  }
  const candidatesFor: CandidatesFor = async (requirement, there) => {
    const known = listed.get(requirement) ?? []
    const bound = boundSources(requirement.name, options)
    if (bound.length === 0 || pick(requirement, known, there, packageFacts(requirement.name)).status === 'found') return known
    const { candidates, errors } = await gather(bound, requirement, there, options)
    unanswered.push(...errors.filter(({ code }) => code !== 'TEMPLATE_VARIABLE'))
    return [...known, ...candidates]
  }
  return { wanted, candidatesFor, unanswered }
}
