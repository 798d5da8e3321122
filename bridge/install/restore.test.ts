import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { withLock } from '../osLock'
import { hostLock, listSnapshots, recoverInPlace } from './inPlace'

let home: string
let site: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'envmanager-inplace-'))
  site = join(home, 'python', 'lib', 'python3.11', 'site-packages')
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

/** A distribution `ops` of one file in the environment, and an open snapshot that keeps another content of it. */
function brokenOff(kept = 'OLD'): void {
  mkdirSync(join(site, 'ops-1.dist-info'), { recursive: true })
  writeFileSync(join(site, 'ops.py'), 'NEW')
  writeFileSync(join(site, 'ops-1.dist-info', 'RECORD'), 'ops.py,,\n')
  writeFileSync(join(site, 'ops-1.dist-info', 'METADATA'), 'Name: ops\nVersion: 1\n')
  const files = join(home, 'snapshots', 's1', 'files')
  mkdirSync(files, { recursive: true })
  writeFileSync(join(files, 'ops.py'), kept)
  const sha256 = createHash('sha256').update('OLD').digest('hex')
  const snapshot = { schema: 1, id: 's1', state: 'open', created: 1, pack: 'a', interpreter: '/p', site, added: [], kept: [{ name: 'ops', version: '1', files: [{ path: 'ops.py', sha256 }] }] }
  writeFileSync(join(home, 'snapshots', 's1', 'snapshot.json'), JSON.stringify(snapshot))
}
const ops = (): string => readFileSync(join(site, 'ops.py'), 'utf8')

test('a change that was killed half-way is undone at the next start', async () => {
  brokenOff()
  expect(await recoverInPlace(home)).toEqual([expect.stringContaining('has been undone')])
  expect(ops()).toBe('OLD')
  expect(await recoverInPlace(home)).toEqual([])
})

test('a damaged kept copy: nothing is removed, it is said, and no start ends by it', async () => {
  brokenOff('O')
  expect(await recoverInPlace(home)).toEqual([expect.stringMatching(/cannot be undone: ops\.py cannot be put back: its kept copy is damaged/)])
  expect(ops()).toBe('NEW')
})

test('what another process is at is not undone', async () => {
  brokenOff()
  await withLock(hostLock(home), {}, async () => expect(await recoverInPlace(home)).toEqual([]))
  expect(ops()).toBe('NEW')
})

test('a snapshot that cannot be read hides no other one, and is said', async () => {
  brokenOff()
  mkdirSync(join(home, 'snapshots', 's2'))
  writeFileSync(join(home, 'snapshots', 's2', 'snapshot.json'), '{"schema": 1')
  const { snapshots, faults } = await listSnapshots(home)
  expect(snapshots.map(({ id }) => id)).toEqual(['s1'])
  expect(faults).toEqual([expect.stringMatching(/s2.*cannot be read/)])
})
