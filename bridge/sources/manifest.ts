import { z } from 'zod'
import { BridgeError } from '../errors/bridgeError'
import { candidateOf, redact, type Candidate } from '../resolve/candidate'
import type { Page } from './http'

const Wheel = z.looseObject({
  filename: z.string(),
  url: z.string(),
  sha256: z.string().optional(),
  size: z.number().optional(),
  torch_min: z.string().optional(),
  cxx11abi: z.boolean().optional(),
  sm: z.array(z.string()).optional(),
})

/** `packages.json`, the manifest of the Comfy-Forge wheel farm (schema 1), and the fields that a publisher may add to it. */
const Manifest = z.looseObject({
  schema: z.literal(1),
  packages: z.record(z.string(), z.looseObject({ torch_free: z.boolean().optional(), wheels: z.array(Wheel) })),
})

const compute = (sm: string): string => sm.replace(/^sm_?(\d+)(\d)$/, '$1.$2')

function candidate(wheel: z.infer<typeof Wheel>, torchFree: boolean, { url }: Page, source: string): Candidate[] {
  const target = URL.parse(wheel.url, url)
  if (!target) return []
  const made = candidateOf(target.href, source, { sha256: wheel.sha256?.toLowerCase() ?? null, bytes: wheel.size ?? null, torchFree })
  if (!made.name) return [made]
  const { labels } = made.name
  const minimum = wheel.torch_min
  const torch = minimum ? { torch: minimum, torch_match: 'minimum' as const, torch_candidates: [minimum] } : {}
  const told = { ...labels, ...torch, cxx11abi: labels.cxx11abi ?? wheel.cxx11abi ?? null, sm: wheel.sm?.map(compute) ?? labels.sm }
  return [{ ...made, name: { ...made.name, labels: told } }]
}

/** The wheels of a `packages.json`. */
export function manifestWheels(page: Page, source: string): Candidate[] {
  try {
    const { packages } = Manifest.parse(JSON.parse(page.text))
    return Object.values(packages).flatMap(({ torch_free, wheels }) => wheels.flatMap((wheel) => candidate(wheel, torch_free ?? false, page, source)))
  } catch (cause) {
    throw new BridgeError('SOURCE_UNREACHABLE', `${redact(source)} is no wheel manifest that this version reads (packages.json, schema 1).`, { cause })
  }
}
