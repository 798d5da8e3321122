import type { Resolution } from '../../schemas/wheel'
import { BridgeError } from '../errors/bridgeError'
import { pick } from '../resolve/pick'
import { parseRequirement } from '../resolve/requirement'
import type { Target } from '../resolve/target'
import { gather, type PageCache } from './gather'

export interface ResolveOptions {
  sources: readonly string[]
  verify?: boolean
  pages?: PageCache
  signal?: AbortSignal
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

/**
 * Resolves one requirement to one exact address. `error` means that the answer is not known (a source did not answer, a
 * template could not be filled); `none` means that every source answered and no wheel fits.
 */
export async function resolveOne(text: string, target: Target, options: ResolveOptions): Promise<Resolution> {
  let name = text
  try {
    const requirement = parseRequirement(text)
    name = requirement.name
    if (requirement.url) {
      throw new BridgeError('BAD_REQUIREMENT', `\`${text}\` names an address; wheels come from sources only.`)
    }
    const { candidates, errors } = await gather(options.sources, requirement, target, {
      verify: options.verify ?? true,
      pages: options.pages ?? new Map(),
      ...(options.signal && { signal: options.signal }),
    })
    const resolution = pick(requirement, candidates, target)
    const told = errors.map(({ message }) => message)
    if (resolution.status === 'found') return { ...resolution, warnings: [...resolution.warnings, ...told] }
    return told.length > 0 ? { ...resolution, status: 'error', error: told.join(' ') } : resolution
  } catch (error) {
    if (!(error instanceof BridgeError) || error.code === 'CANCELLED') throw error
    return failed(text, name, error.message)
  }
}

/** Resolves several requirements; pages are asked for once. */
export function resolveAll(texts: readonly string[], target: Target, options: ResolveOptions): Promise<Resolution[]> {
  const pages = options.pages ?? new Map()
  return Promise.all(texts.map((text) => resolveOne(text, target, { ...options, pages })))
}
