import { expect, test } from 'vitest'
import type { PackInfo, PackState } from '../../schemas/pack'
import { filterCounts, listPacks } from './packList'

const pack = (id: string, state: PackState, isolated = false): PackInfo => ({
  id,
  config: null,
  state,
  reason: state === 'conflict' ? 'numpy clashes' : '',
  requirements: [],
  warnings: [],
  env: null,
  isolation: { state: isolated ? 'on' : 'off' },
  loaded: 'host',
  import_error: null,
  classes: 1,
  live_classes: [],
  proxied: false,
  was: null,
  class_isolation: {},
})
const PACKS = [pack('b', 'ready'), pack('A', 'ready', true), pack('c10', 'conflict'), pack('c9', 'broken')]
const ids = (...rest: [string, Parameters<typeof listPacks>[2], Parameters<typeof listPacks>[3]]): string => listPacks(PACKS, ...rest).map(({ id }) => id).join(' ')

test('by name as people read names, by need, and isolated first', () => {
  expect(ids('', 'all', 'name')).toBe('A b c9 c10')
  expect(ids('', 'all', 'state')).toBe('c9 c10 A b')
  expect(ids('', 'all', 'isolated')).toBe('A b c9 c10')
})

test('every word of a search must be there, in the name or in the reason', () => {
  expect(ids('NUMPY c1', 'all', 'name')).toBe('c10')
  expect(ids('nothing', 'all', 'name')).toBe('')
})

test('filters count what they show, and empty ones are left out', () => {
  expect(filterCounts(PACKS)).toEqual([['all', 4], ['attention', 2], ['installable', 1], ['isolated', 1], ['ready', 2], ['conflict', 1], ['broken', 1]])
  expect(ids('', 'attention', 'name')).toBe('c9 c10')
})
