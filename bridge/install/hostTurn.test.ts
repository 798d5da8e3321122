import { cpSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { withLock } from '../osLock'
import { inHostTurn, recoverInPlace } from './hostTurn'
import { changeLock, saveSnapshot, type Snapshot } from './snapshot'

const ID = '2026-01-01T00-00-00-000Z-0000'
const NOTE = `.envmanager-${ID}.open`
let folder: string
let home: string
let other: string
let site: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'envmanager-turn-'))
  ;[home, other, site] = ['home', 'other-home', 'site-packages'].map((name) => join(folder, name)) as [string, string, string]
  mkdirSync(site)
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const snapshot = (state: Snapshot['state'], of = site): Snapshot => ({ schema: 1, id: ID, state, created: 1, pack: 'a', interpreter: '/p', site: of, added: [], kept: [], others: [], written: [], folders: [] })
const notes = (): string[] => readdirSync(site).filter((name) => name.startsWith('.envmanager-'))
/** What is told in the turn of a home, and that it comes. */
async function turn(): Promise<string[]> {
  const told: string[] = []
  expect(await inHostTurn({ home, site, tell: (text) => told.push(text) }, async () => 'done')).toBe('done')
  return told
}

test('what another home has left half-way is undone first, once', async () => {
  await saveSnapshot(other, snapshot('open'))
  expect(notes()).toEqual([NOTE])
  expect(await turn()).toEqual([expect.stringContaining('has been undone')])
  expect(notes()).toEqual([])
  expect(await turn()).toEqual([])
})

test('a note whose change is not half-way any more, and one that was not finished, go', async () => {
  await saveSnapshot(other, snapshot('done'))
  writeFileSync(join(site, NOTE), JSON.stringify({ schema: 1, home: other, id: ID }))
  writeFileSync(join(site, `${NOTE}.12-0123456789ab.tmp`), '{')
  expect([await turn(), notes()]).toEqual([[], []])
})

test('a copy that was made half-way is refused, also once the other one is whole again; one that was moved is undone', async () => {
  await saveSnapshot(other, snapshot('open'))
  const copy = join(folder, 'copy')
  cpSync(site, copy, { recursive: true })
  const refused = (): Promise<void> => expect(inHostTurn({ home, site: copy, tell: () => undefined }, async () => undefined)).rejects.toThrow(/copy is a copy of .*site-packages, made while an install for a was half-way/)
  await refused()
  expect(await turn()).toHaveLength(1)
  await refused()

  await saveSnapshot(other, snapshot('open'))
  rmSync(copy, { recursive: true })
  renameSync(site, copy)
  site = copy
  expect([await turn(), notes()]).toEqual([[expect.stringContaining('has been undone')], []])
})

test('an old copy of a home undoes nothing: neither what is whole by now, nor what the home itself has half-way', async () => {
  await saveSnapshot(home, snapshot('open'))
  cpSync(home, other, { recursive: true })
  expect(await recoverInPlace(other)).toEqual([expect.stringMatching(/so says its record, which is older .* Nothing was changed/)])
  expect(notes()).toEqual([NOTE])
  await saveSnapshot(home, snapshot('done'))
  rmSync(other, { recursive: true })
  await saveSnapshot(other, snapshot('open'))
  rmSync(join(site, NOTE))
  expect(await recoverInPlace(other)).toEqual([expect.stringMatching(/so says its record, which is older/)])
  expect(await recoverInPlace(other)).toEqual([])
})

test('a home that was moved undoes what it had half-way', async () => {
  await saveSnapshot(other, snapshot('open'))
  renameSync(other, home)
  expect([await turn(), notes()]).toEqual([[expect.stringContaining('has been undone')], []])
})

test('killed before the change began, it is nothing: the note is there before the record says so', async () => {
  mkdirSync(join(site, NOTE))
  await expect(saveSnapshot(home, snapshot('open'))).rejects.toMatchObject({ code: 'FILE_UNREADABLE' })
  expect(await recoverInPlace(home)).toEqual([])
  rmSync(join(site, NOTE), { recursive: true })
  for (const undoing of [turn, () => recoverInPlace(home)]) {
    writeFileSync(join(site, NOTE), JSON.stringify({ schema: 1, home, id: ID }))
    expect([await undoing(), notes()]).toEqual([[], []])
  }
})

test('where the record of its own change cannot be read, a home builds nothing on it, and each start says so', async () => {
  await saveSnapshot(home, snapshot('open'))
  writeFileSync(join(home, 'snapshots', ID, 'snapshot.json'), '')
  await expect(inHostTurn({ home, site, tell: () => undefined }, async () => undefined)).rejects.toThrow(/was broken off and cannot be undone: .*it is empty/)
  expect(await recoverInPlace(home)).toEqual([expect.stringMatching(/whether it was broken off is not known: .*it is empty/)])
})

test('what another home is changing is not undone, also where somebody has removed the lock', async () => {
  await saveSnapshot(other, snapshot('open'))
  await withLock(changeLock(other), {}, () => expect(inHostTurn({ home, site, tell: () => undefined }, async () => undefined)).rejects.toMatchObject({ code: 'ENV_BUSY' }))
  expect(notes()).toEqual([NOTE])
})

test('a note that is there is not written again', async () => {
  await saveSnapshot(home, snapshot('open'))
  const before = statSync(join(site, NOTE)).ino
  await saveSnapshot(home, snapshot('open'))
  expect(statSync(join(site, NOTE)).ino).toBe(before)
})

test.each([
  ['is none of ours', '{"schema": 1}', /has the name of a note of ours.*Delete it/],
  ['names a home that is not there', JSON.stringify({ schema: 1, home: '/nowhere/at/all', id: ID }), /\/nowhere\/at\/all.*its record is gone.*delete .*\.open/],
])('where a note %s, nothing is changed, and it is said', async (_, text, said) => {
  writeFileSync(join(site, NOTE), text)
  const work = vi.fn<() => Promise<string>>()
  const error = await inHostTurn({ home, site, tell: () => undefined }, work).catch((cause: { message: string; hint: string }) => `${cause.message} ${cause.hint}`)
  expect(error).toMatch(said)
  expect([work.mock.calls, notes()]).toEqual([[], [NOTE]])
})

test('without packages there is nothing to take turns at, and no folder is made', async () => {
  rmSync(site, { recursive: true })
  expect(await turn()).toEqual([])
  expect(readdirSync(folder)).not.toContain('site-packages')
})
