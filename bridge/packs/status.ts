import type { Fingerprint } from '../../schemas/host'
import type { PackState, RequirementStatus } from '../../schemas/pack'
import type { Resolution } from '../../schemas/wheel'
import { BridgeError } from '../errors/bridgeError'
import { parseRequirement, type Requirement } from '../resolve/requirement'
import { meets } from '../resolve/versions'
import type { PackNeeds } from './needs'
import type { Installed } from './installed'
import { markerHolds } from './markers'

export interface StatusInput {
  needs: PackNeeds
  resolutions: Resolution[]
  host: Installed
  /** Packages of the pack's own env; null: it has none. */
  own: Installed | null
  fingerprint: Fingerprint
}

const plain = (status: RequirementStatus['status'], text: string, kind: RequirementStatus['kind'], detail: string): RequirementStatus => ({
  text,
  kind,
  status,
  detail,
  rejected: [],
  nearest: [],
})

function pythonStatus(requirement: Requirement, { host, own }: StatusInput): RequirementStatus {
  const { name, specifier, text } = requirement
  const mine = own?.get(name)
  const theirs = host.get(name)
  if (mine !== undefined && meets(mine, specifier)) return plain('satisfied', text, 'python', `${mine} in its own environment`)
  if (theirs !== undefined && meets(theirs, specifier)) return plain('satisfied', text, 'python', `${theirs} in ComfyUI`)
  if (theirs !== undefined) return plain('conflict', text, 'python', `ComfyUI has ${name} ${theirs}`)
  return plain('missing', text, 'python', `${name} is not installed`)
}

function cudaStatus(text: string, resolution: Resolution | undefined, { host, own }: StatusInput): RequirementStatus {
  const { name, specifier } = parseRequirement(text)
  const present = own?.get(name) ?? host.get(name)
  if (present !== undefined && meets(present, specifier)) return plain('satisfied', text, 'cuda', `${present} is installed`)
  if (!resolution) return plain('unknown', text, 'cuda', 'not looked up yet')
  const { status, filename, nearest, rejected, error, available } = resolution
  if (status === 'found') return plain('found', text, 'cuda', filename ?? '')
  if (status === 'error') return plain('unknown', text, 'cuda', error ?? 'its sources did not answer')
  const detail = available.length > 0 ? `none of ${rejected.length} wheels fits this machine` : 'no source has a wheel of it'
  return { text, kind: 'cuda', status: 'none', detail, rejected: rejected.slice(0, 50), nearest }
}

/** How each requirement that holds on this machine stands. A line that cannot be read is `unknown` and says why. */
export function requirementStatuses(input: StatusInput): RequirementStatus[] {
  const { needs, resolutions, fingerprint } = input
  const guarded = (text: string, kind: RequirementStatus['kind'], status: () => RequirementStatus[]): RequirementStatus[] => {
    try {
      return status()
    } catch (error) {
      if (!(error instanceof BridgeError)) throw error
      return [plain('unknown', text, kind, error.message)]
    }
  }
  const python = needs.python.flatMap((text) =>
    guarded(text, 'python', () => {
      const requirement = parseRequirement(text)
      return markerHolds(requirement.marker, fingerprint) ? [pythonStatus(requirement, input)] : []
    }),
  )
  const cuda = needs.cuda.flatMap((text) =>
    guarded(text, 'cuda', () => [cudaStatus(text, resolutions.find(({ requirement }) => requirement === text), input)]),
  )
  return [...cuda, ...python]
}

const names = (statuses: RequirementStatus[]): string => statuses.map(({ text }) => text).join(', ')

/** The pack's one state and its sentence, from its requirements; jobs and import errors are put over it by the caller. */
export function packState(statuses: RequirementStatus[], hasEnv: boolean): { state: PackState; reason: string } {
  const of = (status: RequirementStatus['status']): RequirementStatus[] => statuses.filter((item) => item.status === status)
  const [none, unknown, conflict] = [of('none'), of('unknown'), of('conflict')]
  const absent = [...of('missing'), ...of('found')]
  const [firstNone, firstUnknown] = [none[0], unknown[0]]
  if (firstNone) return { state: 'no_wheel', reason: `${names(none)}: ${firstNone.detail}.` }
  if (firstUnknown) return { state: 'unknown', reason: `${firstUnknown.text}: ${firstUnknown.detail}` }
  if (hasEnv && conflict.length + absent.length > 0) {
    return { state: 'update', reason: `Its environment lacks ${names([...conflict, ...absent])}.` }
  }
  if (conflict.length > 0) {
    return { state: 'conflict', reason: `${names(conflict)} clashes: ${conflict.map(({ detail }) => detail).join(', ')}.` }
  }
  if (absent.length > 0) return { state: 'missing', reason: `Not installed: ${names(absent)}.` }
  if (hasEnv) return { state: 'ready', reason: 'Everything it needs is in its own environment.' }
  return { state: 'ready', reason: statuses.length > 0 ? 'ComfyUI has everything it needs.' : 'It asks for nothing.' }
}
