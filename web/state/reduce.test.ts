import { expect, test } from 'vitest'
import type { JobInfo } from '../../schemas/job'
import type { Snapshot } from '../../schemas/panelLink'
import { reduce } from './reduce'

const job = (id: string, lines: number): JobInfo => ({ id: `job-${id}`, action: 'install', pack: 'p', env: 'p', state: { status: 'done' }, started: 0, ended: null, lines, position: null, in_place: false })
const state = { seq: 4, host: { writable: false }, packs: [], envs: [], jobs: [job('aaaaaa', 1)], workers: [] } as unknown as Snapshot

test('an event changes its thing and nothing else', () => {
  const next = reduce(state, { kind: 'job', seq: 5, job: job('aaaaaa', 2) })
  expect(next).toEqual({ ...state, seq: 5, jobs: [job('aaaaaa', 2)] })
  expect(reduce(next as Snapshot, { kind: 'job', seq: 6, job: job('bbbbbb', 0) })?.jobs).toHaveLength(2)
})

test('an event that the snapshot holds already changes nothing', () => {
  expect(reduce(state, { kind: 'pack_gone', seq: 4, id: 'x' })).toBe(state)
})

test('a gap asks for a new snapshot', () => {
  expect(reduce(state, { kind: 'pack_gone', seq: 6, id: 'x' })).toBeNull()
})

test('whether this panel may write is its own matter', () => {
  const next = reduce(state, { kind: 'host', seq: 5, host: { writable: true } as Snapshot['host'] })
  expect(next?.host.writable).toBe(false)
})
