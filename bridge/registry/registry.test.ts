import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Fingerprint } from '../../schemas/host'
import { parseRequirement } from '../resolve/requirement'
import { fillScheme, matchScheme } from '../resolve/scheme'
import { makeTarget, type Target } from '../resolve/target'
import { fillTemplate } from '../resolve/template'
import { filenameOf, parseWheelName } from '../resolve/wheelName'
import { builtInSources, packageFacts, publisherOf, Registry, schemes } from './registry'
import content from './registry.json' with { type: 'json' }

const read = JSON.parse(readFileSync(join(import.meta.dirname, 'testdata', 'schemes.json'), 'utf8')) as { schemes: { name: string; template: string; examples: string[] }[] }
const observed = JSON.parse(readFileSync(join(import.meta.dirname, '..', 'resolve', 'testdata', 'observedWheels.json'), 'utf8')) as { wheels: { address: string }[] }

test('the data file is what its schema says', () => {
  expect(Registry.safeParse(content).error).toBeUndefined()
})

test('it has every package of the reference library’s registry', () => {
  const packages = ['nvdiffrast', 'pytorch3d', 'torch-cluster', 'torch-scatter', 'torch-sparse', 'torch-spline-conv', 'cumesh', 'o-voxel', 'flex-gemm', 'nvdiffrec-render', 'spconv', 'sageattention', 'triton', 'detectron2', 'flash-attn']
  expect(packages.filter((name) => builtInSources(name).length === 0)).toEqual([])
})

describe(`the ${read.schemes.length} naming schemes`, () => {
  test.each(read.schemes)('$name: every example is taken apart and put together again', ({ examples }) => {
    for (const example of examples) {
      const own = schemes().find(({ scheme }) => matchScheme(scheme, example))
      expect(own?.scheme).toBeDefined()
      expect(fillScheme(own?.scheme ?? '', matchScheme(own?.scheme ?? '', example) ?? {})).toBe(example)
    }
  })
})

/** The machine that a wheel of the corpus was built for. */
function machineOf(address: string): Target | null {
  const name = parseWheelName(address)
  const python = /^cp3(\d+)$/.exec(name?.pythonTags[0] ?? '')?.[1]
  const platform = name?.platformTags[0] ?? ''
  const { torch = null, cuda = null, cxx11abi = null } = name?.labels ?? {}
  if (!python || !torch) return null
  const tag = platform.startsWith('win') ? platform : `linux_${/(x86_64|aarch64)$/.exec(platform)?.[1] ?? 'x86_64'}`
  const abi = name?.abiTags[0]?.startsWith('cp') ? (name.abiTags[0] ?? '') : `cp3${python}`
  const fingerprint: Fingerprint = {
    python: { version: `3.${python}.1`, tag: `cp3${python}`, abi, executable: '', source: '' },
    platform: { tag, os: tag.startsWith('win') ? 'windows' : 'linux', arch: '', glibc: tag.startsWith('win') ? null : '2.39' },
    torch: { version: torch.split('.').length > 2 ? torch : `${torch}.0`, cuda: cuda?.includes('.') ? cuda : `${cuda ?? '12'}.8`, hip: null, cxx11abi: cxx11abi ?? true, source: '' },
    cuda: null,
    gpus: [],
  }
  return makeTarget(fingerprint)
}

test('templates make the addresses that their publishers really have', () => {
  const made = new Map<string, number>()
  for (const { address } of observed.wheels) {
    const name = parseWheelName(address)
    const target = machineOf(address)
    if (!name || !target) continue
    const requirement = parseRequirement(`${name.package}==${name.version}`)
    const templates = builtInSources(name.package).filter(({ kind, os }) => kind === 'template' && (os === null || os.includes(target.fingerprint.platform.os)))
    const hit = templates.find(({ address: template, values }) => {
      try {
        return fillTemplate(template, requirement, target, values).some((url) => decodeURIComponent(url) === decodeURIComponent(address))
      } catch {
        return false // a variable that this machine does not fill
      }
    })
    if (hit) made.set(hit.address, (made.get(hit.address) ?? 0) + 1)
  }
  expect([...made.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(26)
  expect([...made.keys()].join('\n')).toMatch(/nunchaku/)
  expect([...made.keys()].join('\n')).toMatch(/kingbri1|bdashore3/)
})

test('a publisher is known by its address, and facts of a package whatever its names say', () => {
  expect(publisherOf('https://github.com/Comfy-Forge/cuda-wheels/releases/download/cumm-latest/cumm-0.7.11+cu128torch2.8-cp312-cp312-win_amd64.whl')).toBe('Comfy-Forge cuda-wheels')
  expect(publisherOf('https://example.com/x-1.0-py3-none-any.whl')).toBeNull()
  expect(packageFacts('insightface')).toEqual({ plain: true, torchFree: false })
  expect(packageFacts('spconv').torchFree).toBe(true)
  expect(filenameOf('https://h/a%2Bb.whl')).toBe('a+b.whl')
})
