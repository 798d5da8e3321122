import { expect, test } from 'vitest'
import type { Fingerprint } from '../../schemas/host'
import type { EnvOffer } from '../../schemas/wheel'
import { candidateOf } from './candidate'
import { findCombinations, type Wishes } from './finder'
import { NO_FACTS } from './judge'
import { parseRequirement } from './requirement'
import { makeTarget } from './target'

interface Machine {
  compute?: string[]
  driver?: string
  torch?: string
  cuda?: string | null
}

function machine({ compute = ['8.9'], driver = '591.44', torch = '2.9.1', cuda = '13.0' }: Machine = {}): Fingerprint {
  return {
    python: { version: '3.12.4', tag: 'cp312', abi: 'cp312', executable: '', source: '' },
    platform: { tag: 'win_amd64', os: 'windows', arch: 'AMD64', glibc: null },
    torch: { version: torch, cuda, hip: null, cxx11abi: true, source: '' },
    cuda: cuda === null ? null : { version: cuda, driver, driver_max_cuda: null, source: '' },
    gpus: compute.map((capability) => ({ name: capability, compute: capability, memory_bytes: null, uuid: null })),
  }
}

const wheels = (name: string, ...builds: string[]): string[] => builds.map((build) => `${name}-1.0+${build}-win_amd64.whl`)

function find(lists: string[][], here: Fingerprint, wishes: Partial<Wishes> = {}): Promise<EnvOffer[]> {
  const byName = new Map(lists.map((names) => [names[0]?.split('-')[0] ?? '', names.map((name) => candidateOf(`https://x.example/${name}`, 'test'))]))
  const wanted = [...byName.keys()].map((name) => ({ requirement: parseRequirement(name), facts: NO_FACTS }))
  const none = { pythonVersion: null, torchVersion: null, cudaVersion: null }
  return findCombinations(wanted, async ({ name }) => byName.get(name) ?? [], makeTarget(here), { ...none, ...wishes })
}

const short = (offers: EnvOffer[]): string[] => offers.map(({ combination: { python, torch, cuda } }) => `${python} ${torch} ${cuda}`)

const A = wheels('a', 'cu130torch2.9-cp312-cp312', 'cu128torch2.8-cp312-cp312', 'cu128torch2.8-cp311-cp311', 'cu126torch2.6-cp312-cp312')
const B = wheels('b', 'cu128torch2.8-cp312-cp312', 'cu128torch2.8-cp311-cp311', 'cu126torch2.6-cp312-cp312')
const C = wheels('c', 'cu128torch2.8-cp311-cp311', 'cu128torch2.8-cp312-cp312', 'cu126torch2.6-cp312-cp312', 'cu130torch2.9-cp312-cp312')

test('the nearest combination with every wheel comes first; the own Python is nearer than another', async () => {
  const offers = short(await find([A, B, C], machine()))
  expect(offers[0]).toBe('3.12 2.8.0 12.8')
  expect(offers).toContain('3.11 2.8.0 12.8')
  expect(offers).not.toContain('3.12 2.9.1 13.0') // b has no such wheel
})

test('a GPU that a torch build has no code for rules that build out', async () => {
  expect(short(await find([A, B, C], machine({ compute: ['12.0'] })))).not.toContain('3.12 2.6.0 12.6')
  const pascal = short(await find([A, B, C], machine({ compute: ['6.1'] })))
  expect(pascal.length).toBeGreaterThan(0)
  expect(pascal.filter((offer) => !/12\.[46]$/.test(offer))).toEqual([]) // CUDA 12.8 builds of torch dropped Pascal
  expect(await find([A, B, C], machine({ compute: ['12.0', '6.1'] }))).toEqual([]) // no torch serves both
})

test('a driver that is too old rules a CUDA family out', async () => {
  const newer = wheels('n', 'cu130torch2.9-cp312-cp312')
  expect(short(await find([newer], machine()))).toEqual(['3.12 2.9.1 13.0'])
  expect(await find([newer], machine({ driver: '566.36' }))).toEqual([])
})

test('a pack’s own wishes are kept', async () => {
  const older = short(await find([A, B, C], machine(), { pythonVersion: '3.11' }))
  expect(older).toContain('3.11 2.8.0 12.8')
  expect(older.filter((offer) => !offer.startsWith('3.11 2.8.0'))).toEqual([])
  expect(await find([A, B, C], machine(), { torchVersion: '2.7.1' })).toEqual([])
})

test('without CUDA, only builds for the CPU are offered', async () => {
  const cpu = wheels('p', 'cputorch2.8-cp312-cp312', 'cu128torch2.8-cp312-cp312')
  expect(short(await find([cpu], machine({ compute: [], cuda: null })))).toEqual(['3.12 2.8.0 null'])
})
