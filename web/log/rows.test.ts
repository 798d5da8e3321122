import { expect, test } from 'vitest'
import type { LogLine } from '../../schemas/job'
import { linkTo, placeIn } from './link'
import { asText, buildRows, findMatches, type LogFilter } from './rows'

const line = (seq: number, phase: string, text: string, level: LogLine['level'] = 'info'): LogLine => ({ seq, time: seq * 1000, level, phase, text })
const LINES = [line(1, 'planning', 'choose'), line(2, 'planning', 'numpy 2'), line(3, 'installing', 'numpy bad', 'error'), line(4, 'planning', 'again', 'warn')]
const ALL: LogFilter = { level: 'all', phase: '', search: '', onlyMatches: false, folded: new Set() }
const shape = (filter: Partial<LogFilter>): string => buildRows(LINES, { ...ALL, ...filter }).map((row) => (row.kind === 'group' ? `${row.phase}(${row.count},${row.worst})` : row.line.seq)).join(' ')

test('lines stand under their phases', () => {
  expect(shape({})).toBe('planning(2,info) 1 2 installing(1,error) 3 planning(1,warn) 4')
})

test('a folded phase shows its head only', () => {
  expect(shape({ folded: new Set([1]) })).toBe('planning(2,info) installing(1,error) 3 planning(1,warn) 4')
})

test('level, phase and search leave out lines, and heads without lines', () => {
  expect(shape({ level: 'warn' })).toBe('installing(1,error) 3 planning(1,warn) 4')
  expect(shape({ phase: 'planning' })).toBe('1 2 4')
  expect(shape({ search: 'NUMPY', onlyMatches: true })).toBe('planning(1,info) 2 installing(1,error) 3')
})

test('matches are places among the rows', () => {
  expect(findMatches(buildRows(LINES, ALL), 'numpy')).toEqual([2, 4])
  expect(findMatches(buildRows(LINES, ALL), '')).toEqual([])
})

test('copied text has times only where they are wanted', () => {
  expect(asText(LINES.slice(2, 3), true)).toBe('1970-01-01T00:00:03.000Z  error  installing  numpy bad')
  expect(asText(LINES.slice(2, 3), false)).toBe('error  installing  numpy bad')
})

test('a link leads back to its line, whatever else the address holds', () => {
  const href = linkTo({ log: 'modern-grain#1', seq: 12 }, 'http://127.0.0.1:8188/sub/?x=1#graph')
  expect(placeIn(href)).toEqual({ log: 'modern-grain#1', seq: 12 })
  expect(new URL(href).searchParams.get('x')).toBe('1')
  expect(placeIn('http://127.0.0.1:8188/?envmanager-log=nonsense')).toBeNull()
})
