import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Fingerprint } from '../../schemas/host'
import { candidateOf, type Candidate } from './candidate'
import { NO_FACTS } from './judge'
import { pick } from './pick'
import { parseRequirement } from './requirement'
import { rankedTags, tagRank, type TagTarget } from './tags'
import { makeTarget, type Target } from './target'
import { parseWheelName } from './wheelName'

interface Case {
  env: string
  package: string
  version: string | null
  result: 'found' | 'none'
  ids: string[]
  confidence: string | null
  nearest: { id: string; blocked_by: string[]; cost: number }[]
}

interface Machine {
  tags: string
  torch: string
  cuda: string
  sm: string
  cxx11abi: boolean | null
}

const read = (name: string): unknown => JSON.parse(readFileSync(join(import.meta.dirname, 'testdata', `${name}.json`), 'utf8'))
const { wheels } = read('observedWheels') as { wheels: { id: string; address: string; package: string; version: string }[] }
const { environments } = read('tagLists') as { environments: (TagTarget & { name: string })[] }
const { ranks } = read('tagOracle') as { ranks: Record<string, Record<string, number>> }
const { cases, envs, pins } = read('resolverCases') as { cases: Case[]; envs: Record<string, Machine>; pins: Record<string, string> }

test.each(environments)('$name: every wheel of the corpus has the rank that packaging gives it', ({ name, ...target }) => {
  const tags = rankedTags(target)
  const found = wheels.flatMap(({ id, address }) => {
    const wheel = parseWheelName(address)
    const rank = wheel && tagRank(wheel, tags)
    return rank === null ? [] : [[id, rank] as const]
  })
  expect(Object.fromEntries(found)).toEqual(ranks[name])
})

function targetOf({ tags, torch, cuda, sm, cxx11abi }: Machine): Target {
  const tagTarget = environments.find(({ name }) => name === tags) as TagTarget
  const abi = /cp\d+t?$/.exec(tags)?.[0] ?? ''
  const os = tagTarget.platform.startsWith('win') ? 'windows' : 'linux'
  const fingerprint: Fingerprint = {
    python: { version: tagTarget.python, tag: abi.replace('t', ''), abi, executable: '', source: '' },
    platform: { tag: tagTarget.platform, os, arch: '', glibc: tagTarget.glibc },
    torch: { version: torch, cuda, hip: null, cxx11abi, source: '' },
    cuda: { version: cuda, driver: null, driver_max_cuda: null, source: '' },
    gpus: [{ name: '', compute: `${sm.slice(0, -1)}.${sm.slice(-1)}`, memory_bytes: null, uuid: null }],
  }
  return makeTarget(fingerprint)
}

const idOf = new Map(wheels.map(({ id, address }) => [address.split('/').at(-1), id]))
const universe = new Map<string, Candidate[]>()
for (const { address, package: name, version } of wheels) {
  const pin = name === 'xformers' ? pins[version] : undefined
  const candidate = candidateOf(address, 'corpus', pin ? { requiresTorch: pin } : {})
  universe.set(name, [...(universe.get(name) ?? []), candidate])
}

/** Cases that we answer otherwise, by `env package version`: `docs/resolving.md` argues each. */
const ARGUED = new Set(['linux-py310-t26-cu124 xformers', 'linux-py313-t212-cu130 flash-attn'])

const key = ({ env, package: name, version }: Case): string => `${env} ${name} ${version ?? ''}`.trim()

function answer({ env, package: name, version }: Case): { found: string | null; nearest: { id: string; cost: number }[] } {
  const target = targetOf(envs[env] as Machine)
  const resolution = pick(parseRequirement(version ? `${name}==${version}` : name), universe.get(name) ?? [], target, { ...NO_FACTS, plain: name === 'insightface' })
  const id = (filename: string): string => idOf.get(encodeURIComponent(filename)) ?? idOf.get(filename) ?? filename
  return {
    found: resolution.filename && id(resolution.filename),
    nearest: resolution.nearest.map(({ filename, cost }) => ({ id: id(filename), cost })),
  }
}

test('an unlabelled build is offered for confirmation, never chosen', () => {
  for (const item of cases.filter((argued) => ARGUED.has(key(argued)))) {
    const { found, nearest } = answer(item)
    expect(found).toBeNull()
    expect(nearest).toContainEqual({ id: item.ids[0], cost: 6 })
  }
})

describe('the 120 resolver cases', () => {
  const asked = cases.filter((item) => !ARGUED.has(key(item)))

  test.each(asked.filter(({ result }) => result === 'found'))('$env $package $version: found', (item) => {
    expect(item.ids).toContain(answer(item).found)
  })

  test.each(asked.filter(({ result }) => result === 'none'))('$env $package $version: none, and the nearest', (item) => {
    const { found, nearest } = answer(item)
    const [first] = item.nearest
    const cheapest = item.nearest.filter(({ cost }) => cost === first?.cost).map(({ id }) => id)
    expect(found).toBeNull()
    expect(nearest[0]?.cost).toBe(first?.cost)
    expect([undefined, ...cheapest]).toContain(nearest[0]?.id)
  })
})
