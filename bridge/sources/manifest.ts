import { z } from 'zod'
import { BridgeError } from '../errors/bridgeError'
import { candidateOf, redact, type Candidate } from '../resolve/candidate'
import type { Page } from './http'
import { isObject, parseJson, refuseMore, Sha256, sizeOf, wheelAt } from './page'

const Wheel = z.looseObject({
  filename: z.string(),
  url: z.string(),
  sha256: Sha256.optional(),
  size: z.number().optional(),
  torch_min: z.string().optional(),
  cxx11abi: z.boolean().optional(),
  sm: z.array(z.string()).optional(),
})

const Package = z.looseObject({ torch_free: z.boolean().optional(), wheels: z.array(z.unknown()) })

/** `packages.json`, the manifest of the Comfy-Forge wheel farm (schema 1), and the fields that a publisher may add to it. */
const Manifest = z.looseObject({ schema: z.literal(1), packages: z.custom<Record<string, unknown>>(isObject) })

const compute = (sm: string): string => sm.replace(/^sm_?(\d+)(\d)$/, '$1.$2')

function candidate(wheel: z.infer<typeof Wheel>, torchFree: boolean, page: Page, source: string): Candidate[] {
  const target = wheelAt(wheel.url, page)
  if (!target) return []
  const made = candidateOf(target.href, source, { sha256: wheel.sha256 ?? null, bytes: sizeOf(wheel.size), torchFree })
  if (!made.name) return [made]
  const { labels } = made.name
  const minimum = wheel.torch_min
  const torch = minimum ? { torch: minimum, torch_match: 'minimum' as const, torch_candidates: [minimum] } : {}
  const told = { ...labels, ...torch, cxx11abi: labels.cxx11abi ?? wheel.cxx11abi ?? null, sm: wheel.sm?.map(compute) ?? labels.sm }
  return [{ ...made, name: { ...made.name, labels: told } }]
}

/** The wheels of a `packages.json`. What is wrong in it is told by its first fault: a list of millions has as many. */
export function manifestWheels(page: Page, source: string): Candidate[] {
  try {
    const found: Candidate[] = []
    for (const one of Object.values(Manifest.parse(parseJson(page)).packages)) {
      const { torch_free, wheels } = Package.parse(one)
      for (const wheel of wheels) refuseMore(found.push(...candidate(Wheel.parse(wheel), torch_free ?? false, page, source)), page)
    }
    return found
  } catch (cause) {
    throw new BridgeError('SOURCE_UNREACHABLE', `${redact(source)} is no wheel manifest that this version reads (packages.json, schema 1).`, { cause })
  }
}
