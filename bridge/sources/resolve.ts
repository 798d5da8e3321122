import type { Resolution } from '../../schemas/wheel'
import { BridgeError } from '../errors/bridgeError'
import { builtInSources, packageFacts } from '../registry/registry'
import type { Candidate } from '../resolve/candidate'
import { pick } from '../resolve/pick'
import { parseRequirement, type Requirement } from '../resolve/requirement'
import type { Target } from '../resolve/target'
import { gather, type GatherOptions } from './gather'
import type { Source } from './source'
import { readTorchPins } from './torchPins'

export interface ResolveOptions extends GatherOptions {
  /** Sources of the user and of the pack. */
  sources: readonly Source[]
  /** Look at the known publishers where those have nothing that fits. */
  registry: boolean
}

function failed(requirement: string, name: string, error: string): Resolution {
  return {
    requirement,
    package: name,
    version: null,
    status: 'error',
    url: null,
    filename: null,
    sha256: null,
    source: null,
    warnings: [],
    rejected: [],
    available: [],
    nearest: [],
    error,
  }
}

/** Sources in the order in which they are asked: a later stage only where the earlier ones had nothing that fits. */
function stages(requirement: Requirement, { sources, registry }: ResolveOptions): { asked: boolean; sources: Source[] }[] {
  const builtIn = registry ? builtInSources(requirement.name) : []
  const isApi = ({ kind }: Source): boolean => kind === 'releases'
  return [
    { asked: true, sources: [...sources] },
    { asked: false, sources: builtIn.filter((source) => !isApi(source)) },
    { asked: false, sources: builtIn.filter(isApi) },
  ].filter((stage) => stage.sources.length > 0)
}

/** Every wheel that could answer a requirement, from all stages up to the first that has one that fits. */
export async function lookFor(
  requirement: Requirement,
  target: Target,
  options: ResolveOptions,
  goOn: (candidates: Candidate[]) => boolean,
): Promise<{ candidates: Candidate[]; errors: BridgeError[]; hints: BridgeError[] }> {
  const candidates: Candidate[] = []
  const errors: BridgeError[] = []
  const hints: BridgeError[] = []
  for (const { asked, sources } of stages(requirement, options)) {
    const gathered = await gather(sources, requirement, target, options)
    // a publisher's template that this machine cannot fill is no answer of that publisher
    const real = gathered.errors.filter(({ code }) => asked || code !== 'TEMPLATE_VARIABLE')
    ;(asked ? errors : hints).push(...real)
    candidates.push(...(await readTorchPins(gathered.candidates, requirement, target, options)))
    if (!goOn(candidates)) break
  }
  return { candidates, errors, hints }
}

/**
 * Resolves one requirement to one exact address. `error` means that the answer is not known (a source did not answer, a
 * template could not be filled); `none` means that every source that was asked for answered and no wheel fits.
 */
export async function resolveOne(text: string, target: Target, options: ResolveOptions): Promise<Resolution> {
  let name = text
  try {
    const requirement = parseRequirement(text)
    name = requirement.name
    if (requirement.url) {
      throw new BridgeError('BAD_REQUIREMENT', `\`${text}\` names an address; wheels come from sources only.`)
    }
    const facts = packageFacts(name)
    let resolution = pick(requirement, [], target, facts)
    const { candidates, errors, hints } = await lookFor(requirement, target, options, (found) => {
      resolution = pick(requirement, found, target, facts)
      return resolution.status !== 'found'
    })
    const told = [...errors, ...hints].map(({ message }) => message)
    const answered = { ...resolution, warnings: [...resolution.warnings, ...told] }
    if (resolution.status === 'found') return answered
    // publishers beyond the ones asked for may be out of reach without making the answer unknown
    const unknown = errors.length > 0 || (candidates.length === 0 && hints.length > 0)
    return unknown ? { ...resolution, status: 'error', error: told.join(' ') } : answered
  } catch (error) {
    if (!(error instanceof BridgeError) || error.code === 'CANCELLED') throw error
    return failed(text, name, error.message)
  }
}

/** Resolves several requirements; pages are asked for once. */
export function resolveAll(texts: readonly string[], target: Target, options: ResolveOptions): Promise<Resolution[]> {
  return Promise.all(texts.map((text) => resolveOne(text, target, options)))
}
