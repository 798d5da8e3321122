import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { parseLocal, torchFromDigits } from './labels'
import { parseWheelName } from './wheelName'

interface Row {
  filename: string
  package: string
  version: string
  cuda: string | null
  torch: string | null
  python_tag: string
  platforms: string[]
  valid: boolean
}

const { wheels } = JSON.parse(readFileSync(join(import.meta.dirname, 'testdata', 'observedWheels.json'), 'utf8')) as { wheels: Row[] }

/** What is wrong with our reading of a name; empty if it is right. */
function wrong(row: Row): string[] {
  const name = parseWheelName(row.filename)
  if (!name) return row.valid ? ['not read'] : []
  const { labels } = name
  const cuda = labels.cuda === 'cpu' ? null : labels.cuda
  return [
    name.package === row.package ? '' : `package ${name.package}`,
    name.version === row.version ? '' : `version ${name.version}`,
    row.cuda === 'elsewhere' || cuda === row.cuda ? '' : `cuda ${cuda}`,
    row.torch === 'elsewhere' || labels.torch === row.torch ? '' : `torch ${labels.torch}`,
    name.pythonTags.join('.') === row.python_tag ? '' : `python ${name.pythonTags}`,
    name.platformTags.join('.') === row.platforms.join('.') ? '' : `platform ${name.platformTags}`,
  ].filter(Boolean)
}

test(`all ${wheels.length} names of the corpus are read right`, () => {
  expect(wheels.map((row) => [row.filename, wrong(row)]).filter(([, what]) => what?.length)).toEqual([])
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
  ['torch210', { torch_match: 'ambiguous', torch_candidates: ['2.10', '2.1.0'] }],
  ['18f6958pt2.8.0cu128', { cuda: '12.8', torch: '2.8.0' }],
  ['rocm6.4.torch2.8.0', { rocm: '6.4', cuda: null, torch: '2.8.0' }],
  ['cpu', { cuda: 'cpu' }],
  ['cu130sm89torch2.10.0', { sm: '8.9', torch: '2.10.0' }],
  ['20260318.cu130torch2100cxx11abitrue.8afc61', { cuda: '13.0', torch: '2.10.0', cxx11abi: true }],
])('the local version %s', (local, expected) => {
  expect(parseLocal(local)).toMatchObject(expected)
})

test('compact torch digits', () => {
  expect([torchFromDigits('28'), torchFromDigits('271'), torchFromDigits('2100')]).toEqual([['2.8'], ['2.7.1'], ['2.10.0']])
})

test.each(['x.whl', 'a-1.0.tar.gz', 'tinycudann-1.7+arch75+torch221+cuda121-cp310-cp310-win_amd64.whl', 'a-b-c-d-e.whl'])('%s is no wheel name', (name) => {
  expect(parseWheelName(name)).toBeNull()
})
