import { describe, expect, test } from 'vitest'
import type { Fingerprint } from '../../schemas/host'
import type { Resolution } from '../../schemas/wheel'
import { type Candidate, candidateOf } from './candidate'
import { pick } from './pick'
import { parseRequirement } from './requirement'
import { makeTarget } from './target'

interface Machine {
  python?: string
  platform?: string
  glibc?: string | null
  torch?: string | null
  cuda?: string | null
  hip?: string
  driver?: string
  compute?: string
  cxx11abi?: boolean | null
}

function machine({ python = '3.12', platform = 'win_amd64', glibc = null, torch = '2.8.0', cuda = '12.8', hip, driver, compute, cxx11abi = true }: Machine): Fingerprint {
  const tag = `cp${python.replace(/\D/g, '')}`
  const os = platform.startsWith('win') ? 'windows' : 'linux'
  return {
    python: { version: python, tag, abi: tag, executable: 'python', source: 'test' },
    platform: { tag: platform, os, arch: 'x86_64', glibc },
    torch: torch === null ? null : { version: torch, cuda, hip: hip ?? null, cxx11abi, source: 'test' },
    cuda: { version: cuda, driver: driver ?? null, driver_max_cuda: null, source: 'test' },
    gpus: compute ? [{ name: 'GPU', compute, memory_bytes: null, uuid: null }] : [],
  }
}

const candidate = (filename: string, extra: Partial<Candidate> = {}): Candidate => candidateOf(`https://x.example/${filename}`, 'test', extra)

const choose = (requirement: string, names: (string | Candidate)[], here: Machine = {}): Resolution =>
  pick(
    parseRequirement(requirement),
    names.map((name) => (typeof name === 'string' ? candidate(name) : name)),
    makeTarget(machine(here)),
  )

const win = (local: string, version = '1.0', python = 'cp312'): string => `x-${version}${local && `+${local}`}-${python}-${python}-win_amd64.whl`
const reasons = (resolution: Resolution): unknown => resolution.rejected.map((entry) => entry.reasons)

describe('each reason on its own', () => {
  test.each<[string, string, Machine, string[]]>([
    ['another Python', win('cu128torch2.8', '1.0', 'cp311'), {}, ['TAG_PYTHON']],
    ['a free-threaded build', 'x-1.0+cu128torch2.8-cp312-cp312t-win_amd64.whl', {}, ['TAG_ABI']],
    ['another system', 'x-1.0+cu128torch2.8-cp312-cp312-linux_x86_64.whl', {}, ['TAG_PLATFORM']],
    ['a newer glibc', 'x-1.0+cu128torch2.8-cp312-cp312-manylinux_2_34_x86_64.whl', { platform: 'linux_x86_64', glibc: '2.31' }, ['GLIBC']],
    ['another torch minor', win('cu128torch2.9'), {}, ['TORCH_MINOR']],
    ['torch 2.1 is not 2.10', win('cu128torch2.1'), { torch: '2.10.0' }, ['TORCH_MINOR']],
    ['a newer torch', win('cu128torch2.9.0andhigher'), {}, ['TORCH_MIN']],
    ['another CUDA major', win('cu130torch2.8'), {}, ['CUDA_MAJOR']],
    ['CUDA on a CPU torch', win('cu128torch2.8'), { cuda: null }, ['BACKEND']],
    ['CPU on a CUDA torch', win('cputorch2.8'), {}, ['BACKEND']],
    ['ROCm on CUDA', win('rocm6.4torch2.8'), {}, ['BACKEND']],
    ['the old C++ ABI', 'x-1.0+cu12torch2.8cxx11abifalse-cp312-cp312-linux_x86_64.whl', { platform: 'linux_x86_64', glibc: '2.35' }, ['CXX11ABI']],
    ['a driver too old', win('cu130torch2.8'), { cuda: '13.0', driver: '566.36' }, ['DRIVER_TOO_OLD']],
    ['a GPU it was not built for', win('cu128sm89torch2.8'), { compute: '12.0' }, ['SM_MISSING']],
    ['no label', win(''), {}, ['UNLABELLED']],
    ['another version', win('cu128torch2.8', '2.0'), {}, ['VERSION']],
    ['no wheel name', 'x-1.0+a+b-cp312-cp312-win_amd64.whl', {}, ['INVALID_NAME']],
  ])('%s', (_, name, here, expected) => {
    const resolution = choose('x==1.0', [name], here)
    expect(resolution.status).toBe('none')
    expect(reasons(resolution)).toEqual([expected])
  })

  test('withdrawn, and not there', () => {
    expect(reasons(choose('x>=1', [candidate(win('cu128torch2.8'), { yanked: true })]))).toEqual([['YANKED']])
    expect(choose('x==1.0', [candidate(win('cu128torch2.8'), { yanked: true })]).status).toBe('found')
    expect(reasons(choose('x', [candidate(win('cu128torch2.8'), { missing: true })]))).toEqual([['NOT_FOUND']])
  })
})

describe('warnings are no reasons', () => {
  test.each<[string, string, string[]]>([
    ['torch patch', win('cu128torch2.8.1'), ['TORCH_PATCH']],
    ['CUDA minor', win('cu126torch2.8'), ['CUDA_MINOR']],
    ['the C++ ABI on Windows', win('cu128torch2.8cxx11abifalse'), []],
  ])('%s', (_, name, expected) => {
    expect(choose('x', [name])).toMatchObject({ status: 'found', warnings: expected })
  })
})

describe('the better of two that fit', () => {
  test.each<[string, string, string]>([
    ['higher version', win('cu128torch2.8', '1.1'), win('cu128torch2.8', '1.0')],
    ['stable before a higher pre-release', win('cu128torch2.8', '1.0'), win('cu128torch2.8', '1.1rc1')],
    ['exact CUDA', win('cu128torch2.8'), win('cu126torch2.8')],
    ['exact CUDA before the major alone', win('cu128torch2.8'), win('cu12torch2.8')],
    ['exact torch', win('cu128torch2.8.0'), win('cu128torch2.8')],
    ['torch named before a lower bound', win('cu128torch2.8'), win('cu128torch2.7.0andhigher')],
    ['own tag before abi3', win('cu128torch2.8'), 'x-1.0+cu128torch2.8-cp39-abi3-win_amd64.whl'],
    ['later build', 'x-1.0+cu128torch2.8-2-cp312-cp312-win_amd64.whl', 'x-1.0+cu128torch2.8-1-cp312-cp312-win_amd64.whl'],
    ['labelled before pure Python', win('cu128torch2.8'), 'x-2.0-py3-none-any.whl'],
  ])('%s', (_, best, other) => {
    expect(choose('x', [other, best]).filename).toBe(best)
    expect(choose('x', [best, other]).filename).toBe(best)
  })
})

describe('none fits', () => {
  test('the nearest costs least, and another system is never proposed', () => {
    const { nearest } = choose('x', [
      win('cu128torch2.8', '1.0', 'cp311'),
      win('cu128torch2.7'),
      win('cu128torch2.9'),
      win('cu130torch2.9'),
      'x-1.0+cu128torch2.8-cp312-cp312-linux_x86_64.whl',
    ])
    expect(nearest.map(({ change }) => change)).toEqual([{ torch: '2.9' }, { torch: '2.7' }, { torch: '2.9', cuda: '13.0' }, { python: '3.11' }])
    expect(nearest.map(({ cost }) => cost)).toEqual(nearest.map(({ cost }) => cost).toSorted((a, b) => a - b))
  })

  test('a specifier is met or not, whatever the local version says', () => {
    expect(choose('x>=1,<2', [win('cu128torch2.8', '1.5')]).status).toBe('found')
    expect(choose('x==1.5+cu128torch2.8', [win('cu128torch2.8', '1.5')]).status).toBe('found')
    expect(choose('x==1.5+cu126torch2.8', [win('cu128torch2.8', '1.5')]).status).toBe('none')
  })
})
