import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { markFolder } from '../mark'
import { withLock } from '../osLock'
import { CHANGE_MARK } from './leftOver'
import { recoverInPlace } from './hostTurn'
import { restoreSnapshot } from './restore'
import { copyOf, hostLock, type KeptFile, listSnapshots, saveSnapshot, type Snapshot } from './snapshot'

let home: string
let site: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'envmanager-inplace-'))
  site = join(home, 'python', 'lib', 'python3.11', 'site-packages')
  mkdirSync(site, { recursive: true })
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const sha = (text: string): string => createHash('sha256').update(text).digest('hex')

function put(path: string, text: string | null): void {
  const file = join(site, path)
  mkdirSync(dirname(file), { recursive: true })
  rmSync(file, { force: true })
  if (text !== null) writeFileSync(file, text)
}

const read = (path: string): string | null => (existsSync(join(site, path)) ? readFileSync(join(site, path), 'utf8') : null)

/** Keeps a file of this content for a snapshot. `damaged`: what its copy holds in place of it. */
function kept(id: string, path: string, text: string, { damaged, ...about }: Partial<KeptFile> & { damaged?: string } = {}): KeptFile {
  const copy = copyOf(home, id, path)
  mkdirSync(dirname(copy), { recursive: true })
  writeFileSync(copy, damaged ?? text)
  return { path, sha256: sha(text), ...about }
}

/** What an install that replaces `a.py` of ops, writes over `shared.py` of somebody, adds `new/x.py` and removes `b.py` knows of itself. */
function ops(state: Snapshot['state'] = 'done', id = '2026-01-01T00-00-00-000Z-0000'): Snapshot {
  const files = [kept(id, 'a.py', 'A OLD'), kept(id, 'b.py', 'B OLD')]
  const written = Object.entries({ 'a.py': 'A NEW', 'shared.py': 'S NEW', 'new/x.py': 'X NEW' }).map(([path, text]) => ({ path, sha256: sha(text) }))
  put('somebody-1.dist-info/RECORD', 'shared.py,sha256=of-what-it-was,5\n')
  return { schema: 1, id, state, created: 1, pack: 'a', interpreter: '/p', site, added: [], kept: [{ name: 'ops', version: '1', files }], others: [kept(id, 'shared.py', 'S OLD')], written, folders: ['new'] }
}
const BEFORE: Record<string, string | null> = { 'a.py': 'A OLD', 'b.py': 'B OLD', 'shared.py': 'S OLD', 'new/x.py': null }
const AFTER: Record<string, string | null> = { 'a.py': 'A NEW', 'b.py': null, 'shared.py': 'S NEW', 'new/x.py': 'X NEW' }
const fill = (contents: Record<string, string | null>): void => Object.entries(contents).forEach(([path, text]) => put(path, text))
const found = (): Record<string, string | null> => Object.fromEntries(Object.keys(BEFORE).map((path) => [path, read(path)]))

describe('a snapshot of an older version', () => {
  /** A distribution `ops` of one file in the environment, and an open snapshot that keeps another content of it. */
  function brokenOff(damaged?: string, added: string[] = []): void {
    fill({ 'ops.py': 'NEW', 'ops-1.dist-info/RECORD': 'ops.py,,\n', 'ops-1.dist-info/METADATA': 'Name: ops\nVersion: 1\n' })
    const files = [kept('s1', 'ops.py', 'OLD', damaged === undefined ? {} : { damaged })]
    const snapshot = { schema: 1, id: 's1', state: 'open', created: 1, pack: 'a', interpreter: '/p', site, added, kept: [{ name: 'ops', version: '1', files }] }
    writeFileSync(join(home, 'snapshots', 's1', 'snapshot.json'), JSON.stringify(snapshot))
  }

  test('that was killed half-way is undone at the next start', async () => {
    brokenOff()
    expect(await recoverInPlace(home)).toEqual([expect.stringContaining('has been undone')])
    expect(read('ops.py')).toBe('OLD')
    expect(readdirSync(site)).toEqual(['.envmanager.lock', 'ops.py'])
    expect(await recoverInPlace(home)).toEqual([])
  })

  test('with a damaged kept copy: nothing is removed, it is said, and no start ends by it', async () => {
    brokenOff('O')
    expect(await recoverInPlace(home)).toEqual([expect.stringMatching(/cannot be undone: ops\.py cannot be put back: its kept copy is damaged/)])
    expect(read('ops.py')).toBe('NEW')
  })

  test('with a damaged copy of a file that is as it was anyway: it is not needed', async () => {
    brokenOff('O')
    put('ops.py', 'OLD')
    expect(await recoverInPlace(home)).toEqual([expect.stringContaining('has been undone')])
  })

  test('that another process is at is not undone', async () => {
    brokenOff()
    await withLock(hostLock(home), {}, async () => expect(await recoverInPlace(home)).toEqual([]))
    expect(read('ops.py')).toBe('NEW')
  })

  test('takes no file that another package has too, and keeps a copy of what it takes', async () => {
    brokenOff(undefined, ['gui'])
    fill({ 'eye/a.py': 'SHARED', 'eye/gui.py': 'GUI', 'gui-1.dist-info/RECORD': 'eye/a.py,,\neye/gui.py,,\n', 'plain-1.dist-info/RECORD': 'eye/a.py,,\n' })
    expect(await recoverInPlace(home)).toEqual([expect.stringMatching(/has been undone\. What was there is kept in .*replaced-1/)])
    expect([read('eye/a.py'), read('eye/gui.py'), read('gui-1.dist-info/RECORD')]).toEqual(['SHARED', null, null])
    expect(readFileSync(join(home, 'snapshots', 's1', 'replaced-1', 'eye', 'gui.py'), 'utf8')).toBe('GUI')
  })

  test('that cannot be read hides no other one, and is said', async () => {
    brokenOff()
    mkdirSync(join(home, 'snapshots', 's2'))
    writeFileSync(join(home, 'snapshots', 's2', 'snapshot.json'), '{"schema": 1')
    const { snapshots, faults } = await listSnapshots(home)
    expect(snapshots.map(({ id }) => id)).toEqual(['s1'])
    expect(faults).toEqual([expect.stringMatching(/s2.*cannot be read/)])
  })
})

describe('a change that was broken off', () => {
  const paths = Object.keys(BEFORE)
  /** Every mixture of old, new and absent files, one a number. */
  const mixture = (number: number): Record<string, string | null> =>
    Object.fromEntries(paths.map((path, at) => [path, [BEFORE[path] ?? null, AFTER[path] ?? null, null][Math.floor(number / 3 ** at) % 3] ?? null]))

  test('is undone from every mixture of old and new files', async () => {
    for (let number = 0; number < 3 ** paths.length; number++) {
      fill(mixture(number))
      await saveSnapshot(home, ops('open'))
      expect([mixture(number), await recoverInPlace(home)]).toEqual([mixture(number), [expect.stringContaining('has been undone')]])
      expect([mixture(number), found()]).toEqual([mixture(number), BEFORE])
      expect(readdirSync(site).sort()).toEqual(['.envmanager.lock', 'a.py', 'b.py', 'shared.py', 'somebody-1.dist-info'])
    }
  })

  test('and that something else has changed since is left as it is, and said', async () => {
    fill({ ...AFTER, 'a.py': 'MINE' })
    await saveSnapshot(home, ops('open'))
    expect(await recoverInPlace(home)).toEqual([expect.stringMatching(/cannot be undone: .* a\.py changed\. Nothing was changed\. .*--force/)])
    expect(found()).toEqual({ ...AFTER, 'a.py': 'MINE' })
  })

  test('and that another change stands on waits for that one', async () => {
    fill(AFTER)
    await saveSnapshot(home, ops('open'))
    await saveSnapshot(home, { ...ops('done', '2026-01-02T00-00-00-000Z-0000'), created: 2 })
    expect(await recoverInPlace(home)).toEqual([expect.stringMatching(/cannot be undone: 2026-01-02\S+ was installed after it\. First: comfy-env restore 2026-01-02/)])
    expect(found()).toEqual(AFTER)
  })

  test.runIf(process.platform === 'linux')('and whose uv still runs: that is ended first', async () => {
    fill(AFTER)
    const snapshot = await saveSnapshot(home, ops('open'))
    const writer = spawn(process.execPath, ['-e', 'setInterval(() => undefined, 1000); console.log("up")'], { env: { [CHANGE_MARK]: snapshot.id } })
    const ended = new Promise((resolve) => writer.once('exit', (_, signal) => resolve(signal)))
    await new Promise((resolve) => writer.stdout.once('data', resolve))
    await recoverInPlace(home)
    expect(await ended).toBe('SIGKILL')
    expect(found()).toEqual(BEFORE)
  })

  test('before it changed anything leaves nothing behind', async () => {
    const folder = join(home, 'snapshots', '2026-01-01T00-00-00-000Z-0000')
    mkdirSync(join(folder, 'files'), { recursive: true })
    await markFolder(folder, 'snapshot', basename(folder))
    const others = ['2026-01-01T00-00-00-000Z-1111', 'of-somebody']
    others.forEach((name) => mkdirSync(join(home, 'snapshots', name)))
    expect(await recoverInPlace(home)).toEqual([])
    expect(readdirSync(join(home, 'snapshots'))).toEqual(others)
  })
})

describe('restore', () => {
  test('refuses what something else has changed since, and changes nothing', async () => {
    fill({ ...AFTER, 'shared.py': 'THEIRS' })
    await expect(restoreSnapshot(home, ops())).rejects.toMatchObject({ code: 'HOST_CHANGED', details: { files: ['shared.py'] } })
    expect(found()).toEqual({ ...AFTER, 'shared.py': 'THEIRS' })
  })

  test('refuses where another version was installed since, though it has none of the files', async () => {
    fill({ ...AFTER, 'ops-9.dist-info/RECORD': 'other.py,,\ncommon.py,,\n', 'other.py': '9', 'common.py': 'C', 'else-1.dist-info/RECORD': 'common.py,,\n' })
    await expect(restoreSnapshot(home, ops())).rejects.toMatchObject({ code: 'HOST_CHANGED', details: { packages: ['ops-9'] } })
    const { replaced } = await restoreSnapshot(home, ops(), true)
    expect([found(), read('other.py'), read('common.py')]).toEqual([BEFORE, null, 'C'])
    expect(readdirSync(replaced ?? '').sort()).toEqual(['ops-9.dist-info', 'other.py'])
  })

  test('with force puts everything back and keeps a copy of what it takes', async () => {
    fill({ ...AFTER, 'new/x.py': 'THEIRS', 'new/more.py': 'MORE' })
    const { replaced } = await restoreSnapshot(home, ops(), true)
    expect(found()).toEqual(BEFORE)
    expect(readFileSync(join(replaced ?? '', 'new', 'x.py'), 'utf8')).toBe('THEIRS')
    expect(read('new/more.py')).toBe('MORE')
  })

  test('is content where somebody has removed what the change wrote', async () => {
    fill({ 'a.py': null, 'b.py': null, 'shared.py': null, 'new/x.py': null })
    expect((await restoreSnapshot(home, ops())).replaced).toBeNull()
    expect(found()).toEqual(BEFORE)
  })

  /** What a RECORD says of a file of this content. */
  const row = (path: string, text: string): string => `${path},sha256=${Buffer.from(sha(text), 'hex').toString('base64url')},${text.length}\n`

  test('leaves what another package, updated or installed since, has there, and says so', async () => {
    fill({ ...AFTER, 'shared.py': 'S UPDATED' })
    const snapshot = ops()
    fill({ 'somebody-1.dist-info/RECORD': null, 'somebody-2.dist-info/RECORD': row('shared.py', 'S UPDATED'), 'later-1.dist-info/RECORD': 'new/x.py,,\n' })
    expect(await restoreSnapshot(home, snapshot)).toMatchObject({ replaced: null, left: ['new/x.py', 'shared.py'] })
    expect(found()).toEqual({ ...BEFORE, 'shared.py': 'S UPDATED', 'new/x.py': 'X NEW' })
  })

  test('leaves the same content too where another package came to have it since, and puts a changed file of one back where it had it then', async () => {
    const snapshot = ops()
    fill({ ...AFTER, 'somebody-1.dist-info/RECORD': row('shared.py', 'S NEW') })
    expect((await restoreSnapshot(home, { ...snapshot, claims: { 'shared.py': [sha('S OLD')] } })).left).toEqual(['shared.py'])
    fill(AFTER)
    expect((await restoreSnapshot(home, { ...snapshot, claims: { 'shared.py': [sha('S NEW')] } })).left).toEqual([])
    expect(found()).toEqual(BEFORE)
  })

  test('brings back no file of a package that somebody has removed since', async () => {
    fill({ ...AFTER, 'shared.py': null })
    const snapshot = ops()
    rmSync(join(site, 'somebody-1.dist-info'), { recursive: true })
    expect((await restoreSnapshot(home, snapshot)).left).toEqual(['shared.py'])
    expect(found()).toEqual({ ...BEFORE, 'shared.py': null })
  })

  test('names all damaged copies before it changes anything', async () => {
    fill(AFTER)
    const snapshot = ops()
    for (const path of ['a.py', 'shared.py']) writeFileSync(copyOf(home, snapshot.id, path), 'other')
    await expect(restoreSnapshot(home, snapshot)).rejects.toMatchObject({ code: 'VERIFY_FAILED', message: expect.stringMatching(/^a\.py, shared\.py cannot be put back/) })
    expect(found()).toEqual(AFTER)
  })

  test.runIf(process.platform !== 'win32')('looks at its end whether all of it is as it was, says what is not, and is taken up again', async () => {
    fill(AFTER)
    symlinkSync('.', join(site, 'same'))
    const snapshot = ops()
    const others = [...(snapshot.others ?? []), kept(snapshot.id, 'same/a.py', 'A ELSE')]
    const written = [...(snapshot.written ?? []), { path: 'same/a.py', sha256: sha('A NEW') }]
    await expect(restoreSnapshot(home, { ...snapshot, others, written, claims: { 'same/a.py': [] } }, true)).rejects.toMatchObject({ code: 'VERIFY_FAILED', details: { files: [expect.stringMatching(/a\.py/)] } })
    expect((await listSnapshots(home)).snapshots[0]?.state).toBe('open')
    rmSync(join(site, 'same'))
    put('a.py', 'A OLD')
    expect(await recoverInPlace(home)).toEqual([expect.stringContaining('has been undone')])
    expect(found()).toEqual(BEFORE)
  })

  test('keeps modes, times and symbolic links', async () => {
    fill(AFTER)
    const snapshot = ops()
    const link = { path: 'l.py', sha256: sha('a.py'), link: 'a.py' }
    chmodSync(join(site, 'shared.py'), 0o644)
    const others = [kept(snapshot.id, 'shared.py', 'S OLD', { mode: 0o750, mtime: 1_000_000_000_000 }), link]
    put('l.py', 'no link')
    await restoreSnapshot(home, { ...snapshot, others, written: [...(snapshot.written ?? []), { path: 'l.py', sha256: sha('no link') }] })
    const { mode, mtimeMs } = lstatSync(join(site, 'shared.py'))
    expect([mode & 0o777, mtimeMs, readlinkSync(join(site, 'l.py'))]).toEqual([0o750, 1_000_000_000_000, 'a.py'])
  })

  test('leaves no bytecode of another content, and puts back that of the content that lies there', async () => {
    fill(AFTER)
    const snapshot = ops()
    const time = 0x3b1a4a00 // each byte of it is a character of its own in UTF-8
    const bytecode = (size: number): string => Buffer.from(Uint32Array.of(3367, 0, time, size).buffer).toString('latin1')
    const old = [kept(snapshot.id, 'a.py', 'A OLD', { mtime: time * 1000 }), kept(snapshot.id, '__pycache__/a.cpython-311.pyc', bytecode(5)), kept(snapshot.id, '__pycache__/b.cpython-311.pyc', bytecode(5)), kept(snapshot.id, 'b.py', 'B OLD', { mtime: 2_000_000_000_000 })]
    fill({ '__pycache__/a.cpython-311.pyc': 'of the new one', '__pycache__/a.cpython-312.opt-1.pyc': 'of the new one', '__pycache__/foreign.cpython-311.pyc': 'stays', '__pycache__/shared.cpython-311.pyc': 'of the new one' })
    await restoreSnapshot(home, { ...snapshot, kept: [{ name: 'ops', version: '1', files: old }] })
    expect(readdirSync(join(site, '__pycache__')).sort()).toEqual(['a.cpython-311.pyc', 'foreign.cpython-311.pyc'])
    expect(read('__pycache__/a.cpython-311.pyc')).toBe(bytecode(5))
  })

  test('leaves a folder that has got something else in it, and takes one that was made', async () => {
    fill(AFTER)
    await restoreSnapshot(home, ops())
    expect(existsSync(join(site, 'new'))).toBe(false)
    fill({ ...AFTER, 'new/theirs.txt': 'x' })
    await restoreSnapshot(home, ops())
    expect([read('new/x.py'), read('new/theirs.txt')]).toEqual([null, 'x'])
  })

  test.runIf(process.platform !== 'win32')('writes through no link of its own making: a file that a link leads to stays', async () => {
    fill({ ...AFTER, 'theirs.txt': 'S NEW' })
    rmSync(join(site, 'shared.py'))
    symlinkSync('theirs.txt', join(site, 'shared.py'))
    await restoreSnapshot(home, ops(), true)
    expect([read('theirs.txt'), lstatSync(join(site, 'shared.py')).isSymbolicLink(), read('shared.py')]).toEqual(['S NEW', false, 'S OLD'])
  })
})
