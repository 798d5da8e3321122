import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { onTopOf, type Snapshot } from './snapshot'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'envmanager-snapshot-'))
  mkdirSync(join(folder, 'site'))
  symlinkSync(join(folder, 'site'), join(folder, 'link'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const snapshot = (created: number, site: string): Snapshot => ({ schema: 1, id: `s${created}`, state: 'done', created, pack: 'a', interpreter: '/p', site, added: [], kept: [] })

test('a change stands on another of the same environment, by whatever path, and on none of another', () => {
  const [own, linked, other, gone] = ['site', 'link', 'other', 'gone'].map((name, at) => snapshot(at, join(folder, name))) as [Snapshot, Snapshot, Snapshot, Snapshot]
  expect(onTopOf([gone, other, linked, own], own)).toBe(linked)
  expect(onTopOf([gone, other, own], own)).toBeUndefined()
  expect(onTopOf([{ ...gone, created: 9 }, gone], gone)?.created).toBe(9)
})
