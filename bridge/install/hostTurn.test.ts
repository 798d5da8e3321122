import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { inHostTurn } from './hostTurn'
import { saveSnapshot, type Snapshot } from './snapshot'

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

test('a note whose change is not half-way any more, and one that was not finished, go; one that came with a copied environment says nothing', async () => {
  await saveSnapshot(other, snapshot('done'))
  writeFileSync(join(site, NOTE), JSON.stringify({ schema: 1, home: other, id: ID }))
  writeFileSync(join(site, `${NOTE}.12-0123456789ab.tmp`), '{')
  expect([await turn(), notes()]).toEqual([[], []])

  mkdirSync(join(folder, 'copied-from'))
  await saveSnapshot(other, snapshot('open', join(folder, 'copied-from')))
  writeFileSync(join(site, NOTE), JSON.stringify({ schema: 1, home: other, id: ID }))
  expect([await turn(), notes()]).toEqual([[], [NOTE]])
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
