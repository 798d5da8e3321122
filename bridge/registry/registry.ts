import { z } from 'zod'
import { NO_FACTS, type PackageFacts } from '../resolve/judge'
import { matchScheme } from '../resolve/scheme'
import type { Source } from '../sources/source'
import content from './registry.json' with { type: 'json' }

const SourceEntry = z.strictObject({
  kind: z.enum(['template', 'page', 'index', 'manifest', 'releases', 'default']),
  address: z.string(),
  packages: z.array(z.string()).optional().describe('of the publisher’s packages, those that lie here; absent: all'),
  versions: z.string().optional().describe('PEP 440 specifier of the versions for which this holds'),
  os: z.array(z.enum(['linux', 'windows', 'darwin'])).optional(),
  values: z.record(z.string(), z.array(z.string())).optional().describe('how this publisher spells a variable'),
})

const Publisher = z.strictObject({
  name: z.string(),
  scheme: z.string().optional().describe('how its wheels’ addresses are formed; may hold parts that only an index knows: tag, date, hash'),
  packages: z.array(z.string()),
  sources: z.array(SourceEntry).describe('where to look, cheapest first; empty: its wheels are found through another publisher'),
  note: z.string().optional(),
})

/** `registry.json`: the one place to add a publisher. */
export const Registry = z.strictObject({
  publishers: z.array(Publisher),
  packages: z.record(z.string(), z.strictObject({ plain: z.boolean().optional(), torch_free: z.boolean().optional() })),
})
type Registry = z.infer<typeof Registry>

const registry = content as Registry

/** Where the known publishers have wheels of a package, cheapest to ask first. `name` is normalised. */
export function builtInSources(name: string): Source[] {
  return registry.publishers
    .filter(({ packages }) => packages.includes(name))
    .flatMap(({ sources }) => sources)
    .filter(({ packages }) => packages === undefined || packages.includes(name))
    .map(({ kind, address, versions, os, values }) => ({ kind, address, versions: versions ?? null, os: os ?? null, values: values ?? {}, byPack: false }))
}

export function packageFacts(name: string): PackageFacts {
  const { plain, torch_free } = registry.packages[name] ?? {}
  return { plain: plain ?? NO_FACTS.plain, torchFree: torch_free ?? NO_FACTS.torchFree }
}

/** Whether a package is one that known publishers build for a torch and a CUDA. */
export function isKnownPackage(name: string): boolean {
  return registry.publishers.some(({ packages }) => packages.includes(name))
}

/** The naming schemes of all publishers. */
export const schemes = (): { name: string; scheme: string }[] =>
  registry.publishers.flatMap(({ name, scheme }) => (scheme ? [{ name, scheme }] : []))

/** The publisher whose naming scheme an address follows; null: none that is known. */
export function publisherOf(address: string): string | null {
  const plain = (address.split(/[?#]/)[0] ?? '').replaceAll(/%2B/gi, '+').replaceAll('%20', ' ')
  return schemes().find(({ scheme }) => matchScheme(scheme, plain))?.name ?? null
}
