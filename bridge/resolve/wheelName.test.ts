import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { expect, test } from 'vitest'
import { NO_LABELS, parseLocal, settleTorch, torchFromDigits, withPathLabels } from './labels'
import { parseWheelName, readWheelName } from './wheelName'

interface Row {
  id: string
  address: string
  package: string
  version: string
  cuda: string | null
  torch: string | null
  python: string
  abi: string
  platforms: string[]
  cxx11abi: boolean | null
  backend: string | null
}

const { wheels } = JSON.parse(readFileSync(join(import.meta.dirname, 'testdata', 'observedWheels.json'), 'utf8')) as { wheels: Row[] }

function reading(address: string): Omit<Row, 'id' | 'address'> | null {
  const name = readWheelName(address)
  if (!name) return null
  const { package: own, version, labels, pythonTags, abiTags, platformTags } = name
  const { cuda, torch, cxx11abi, backend } = labels
  return { package: own, version, cuda, torch, python: pythonTags.join('.'), abi: abiTags.join('.'), platforms: platformTags, cxx11abi, backend }
}

test(`all ${wheels.length} addresses of the corpus are read right`, () => {
  const expected = wheels
  const found = wheels.map(({ id, address }) => Object.assign({ id, address }, reading(address)))
  const wrong = found.filter((row, index) => !isDeepStrictEqual(row, expected[index]))
  expect(wrong).toEqual(expected.filter(({ address }) => wrong.some((row) => row.address === address)))
})

test.each([
  ['cu128torch2.8', { cuda: '12.8', torch: '2.8', torch_match: 'minor' }],
  ['cu12torch2.5cxx11abifalse', { cuda: '12', torch: '2.5', cxx11abi: false }],
  ['cu128torch2.9.0andhigher.post4', { torch: '2.9.0', torch_match: 'minimum' }],
  ['pt2.6.0cu126', { cuda: '12.6', torch: '2.6.0', torch_match: 'exact' }],
  ['cu13.0torch2.11', { cuda: '13.0', torch: '2.11' }],
  ['torch2130cu130', { cuda: '13.0', torch: '2.13.0' }],
  ['cu128.torch210', { torch: '2.10', torch_match: 'minor' }],
  ['cu121torch210', { torch: '2.1.0', torch_match: 'exact' }],
  ['torch213', { torch: '2.13', torch_match: 'minor' }],
  ['torch210', { torch_match: 'ambiguous', torch_candidates: ['2.10', '2.1.0'] }],
  ['18f6958pt2.8.0cu128', { cuda: '12.8', torch: '2.8.0' }],
  ['rocm6.4.torch2.8.0', { rocm: '6.4', cuda: null, torch: '2.8.0' }],
  ['cpu', { cuda: null, backend: 'cpu' }],
  ['cu130sm89torch2.10.0', { sm: ['8.9'], torch: '2.10.0' }],
  ['cu130.sm80_86.sm90a.torch2.10.0', { sm: ['8.0', '8.6', '9.0'], torch: '2.10.0' }],
  ['sm120.20260318', { sm: ['12.0'] }],
  ['sm37', { sm: ['3.7'] }],
  ['sm_140.25', { sm: ['14.0'] }],
  ['rocm.10.0', { rocm: '10.0', backend: 'rocm' }],
  ['rocm.20260318', { rocm: 'unknown', backend: 'rocm' }],
  ['cu.12.8.torch.2.9.1', { cuda: '12.8', torch: '2.9.1', torch_match: 'exact' }],
  ['torch.20260318', { torch: null }],
  ['cu13torch25.11cxx11abiTRUE', { cuda: '13', torch: null, torch_match: null, cxx11abi: true }],
  ['20260318.cu130torch2100cxx11abitrue.8afc61', { cuda: '13.0', torch: '2.10.0', cxx11abi: true }],
])('the local version %s', (local, expected) => {
  expect(settleTorch(parseLocal(local), null)).toMatchObject(expected)
})

test('compact torch digits', () => {
  expect([torchFromDigits('28'), torchFromDigits('271'), torchFromDigits('2100')]).toEqual([['2.8'], ['2.7.1'], ['2.10.0']])
})

test.each(['x.whl', 'a-1.0.tar.gz', 'tinycudann-1.7+arch75+torch221+cuda121-cp310-cp310-win_amd64.whl', 'a-b-c-d-e.whl'])('%s is no wheel name', (name) => {
  expect(parseWheelName(name)).toBeNull()
})

test.each([
  ['torch210', '3.13', '2.10'],
  ['torch210', '3.9', '2.1.0'],
])('%s for Python %s is torch %s', (local, python, torch) => {
  expect(settleTorch(parseLocal(local), python)).toMatchObject({ torch })
})

test.each([
  [['whl', 'cu124'], { cuda: '12.4' }],
  [['torch-2.4.1_cu118'], { torch: '2.4.1', cuda: '11.8' }],
  [['wheels', 'Windows', 'Torch2100', 'CUDA 13.1'], { torch: '2.10.0', cuda: '13.1' }],
  [['py310_cu121_pyt241'], { torch: '2.4.1', cuda: '12.1' }],
  [['Linux', 'sm_86'], { sm: ['8.6'] }],
  [['cu128-torch271-py312-sm90'], { sm: ['9.0'], torch: '2.7.1' }],
  [['sm80-sm86-sm120'], { sm: ['8.0', '8.6', '12.0'] }],
  [['prism2024'], { sm: [] }],
  [['v2.8.4_win-rocm'], { backend: 'rocm', cuda: null }],
  [['v0.3.34-vulkan'], { backend: 'vulkan' }],
  [['torch_packages_builder', 'pytorch3d-0.7.8', 'cuda-wheels', 'v1.7.0'], { torch: null, cuda: null, backend: null }],
])('folders %j', (folders, expected) => {
  expect(withPathLabels(NO_LABELS, folders)).toMatchObject(expected)
})

test('a label in the name wins over one in a folder', () => {
  expect(parseWheelName('https://h/cu130-torch291/a-1.0+cu128torch2.8-cp312-cp312-win_amd64.whl')?.labels).toMatchObject({ cuda: '12.8', torch: '2.8' })
})

test('a name with an invalid version is still read', () => {
  const name = readWheelName('tinycudann-1.7+arch75+torch221+cuda121-cp310-cp310-win_amd64.whl')
  expect(name).toMatchObject({ package: 'tinycudann', version: '1.7', labels: { sm: ['7.5'], torch: '2.2.1', cuda: '12.1' } })
  expect(name?.problem).toContain('1.7+arch75+torch221+cuda121')
})
