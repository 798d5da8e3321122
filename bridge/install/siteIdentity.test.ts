import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { recoverInPlace } from './hostTurn'
import { restoreSnapshot } from './restore'
import { identityOf } from './siteIdentity'
import { copyOf, saveSnapshot, type Snapshot } from './snapshot'

const ID = '2026-01-01T00-00-00-000Z-0000'
let home: string
let site: string
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'envmanager-site-'))
  site = join(home, 'python', 'site-packages')
  mkdirSync(site, { recursive: true })
  // what an environment holds was written after it was made, as the file system's clock tells it
  do {
    rmSync(join(site, 'a.py'), { force: true })
    writeFileSync(join(site, 'a.py'), 'NEW')
  } while (statSync(site).ctimeMs === statSync(site).birthtimeMs)
  mkdirSync(dirname(copyOf(home, ID, 'a.py')), { recursive: true })
  writeFileSync(copyOf(home, ID, 'a.py'), 'OLD')
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

/** A change of `a.py` that was broken off. */
async function open(): Promise<Snapshot> {
  const kept = [{ name: 'ops', version: '1', files: [{ path: 'a.py', sha256: sha256('OLD') }] }]
  const identity = (await identityOf(site)) ?? undefined
  return saveSnapshot(home, { schema: 1, id: ID, state: 'open', created: 1, pack: 'a', interpreter: '/p', site, identity, added: [], kept, others: [], written: [{ path: 'a.py', sha256: sha256('NEW') }], folders: [] })
}

function anew(): void {
  rmSync(site, { recursive: true })
  mkdirSync(site, { recursive: true })
}

test('an environment is the same one as long as only what is in it changes', async () => {
  await open()
  writeFileSync(join(site, 'more.py'), 'MORE')
  expect(await recoverInPlace(home)).toEqual([expect.stringContaining('has been undone')])
  expect(readFileSync(join(site, 'a.py'), 'utf8')).toBe('OLD')
})

test('one that was made anew gets nothing of what the old one had, and the change is settled', async () => {
  await open()
  anew()
  writeFileSync(join(site, 'a.py'), 'NEW')
  expect(await recoverInPlace(home)).toEqual([expect.stringMatching(/made anew since\. Nothing was changed/)])
  expect(readFileSync(join(site, 'a.py'), 'utf8')).toBe('NEW')
  expect(await recoverInPlace(home)).toEqual([])
})

test('one that is not there now may come back: that is said, and it is undone then', async () => {
  await open()
  renameSync(join(home, 'python'), join(home, 'elsewhere'))
  for (let turn = 0; turn < 2; turn++) expect(await recoverInPlace(home)).toEqual([expect.stringMatching(/site-packages is not there now\. .* If it is gone for good, delete .*snapshots/)])
  renameSync(join(home, 'elsewhere'), join(home, 'python'))
  expect(await recoverInPlace(home)).toEqual([expect.stringContaining('has been undone')])
  expect(readFileSync(join(site, 'a.py'), 'utf8')).toBe('OLD')
})

test('one that was made anew is not changed by a restore that is asked for, forced or not', async () => {
  const snapshot: Snapshot = { ...(await open()), state: 'done' }
  anew()
  await expect(restoreSnapshot(home, snapshot)).rejects.toThrow(/another environment/)
  await expect(restoreSnapshot(home, snapshot, true)).rejects.toThrow(/another environment/)
  expect(readdirSync(site)).toEqual([])
})
