import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { recoverInPlace } from './hostTurn'
import { restoreSnapshot } from './restore'
import { copyOf, type KeptFile, listSnapshots, saveSnapshot, type Snapshot } from './snapshot'

let home: string
let site: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'envmanager-obstacles-'))
  site = join(home, 'python', 'lib', 'python3.11', 'site-packages')
  mkdirSync(site, { recursive: true })
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const ID = '2026-01-01T00-00-00-000Z-0000'
const sha = (text: string): string => createHash('sha256').update(text).digest('hex')

function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
}
const put = (path: string, text: string): void => write(join(site, path), text)

function kept(path: string, text: string): KeptFile {
  write(copyOf(home, ID, path), text)
  return { path, sha256: sha(text) }
}

/** Every file there and its content; special files by a mark. */
function tree(folder: string): Record<string, string> {
  const entries = readdirSync(folder, { withFileTypes: true, recursive: true }).filter((entry) => !entry.isDirectory())
  return Object.fromEntries(entries.map((entry) => [join(entry.parentPath, entry.name).slice(folder.length + 1), entry.isFile() ? readFileSync(join(entry.parentPath, entry.name), 'utf8') : '(special)']))
}

/** A change that replaced `ops/a.py`, `ops/b.py` and their bytecode, and added `ops/new.py`; all of it is there. */
function changed(): Snapshot {
  put('ops/a.py', 'A NEW')
  put('ops/b.py', 'B NEW')
  put('ops/new.py', 'NEW')
  const files = [kept('ops/a.py', 'A OLD'), kept('ops/b.py', 'B OLD'), kept('ops/__pycache__/b.cpython-311.pyc', 'bytecode')]
  const written = Object.entries({ 'ops/a.py': 'A NEW', 'ops/b.py': 'B NEW', 'ops/new.py': 'NEW' }).map(([path, text]) => ({ path, sha256: sha(text) }))
  return { schema: 1, id: ID, state: 'done', created: 1, pack: 'a', interpreter: '/p', site, added: [], kept: [{ name: 'ops', version: '1', files }], others: [], written, folders: [] }
}
const BEFORE = { 'ops/a.py': 'A OLD', 'ops/b.py': 'B OLD' }

const inPlaceOf = (path: string, put: (path: string) => void) => (): void => {
  rmSync(join(site, path), { recursive: true, force: true })
  put(join(site, path))
}
const cases: [string, string, () => void, Record<string, string>][] = [
  ['a folder in a file’s place', 'ops/a.py', inPlaceOf('ops/a.py', (path) => write(join(path, 'deep', 'precious.txt'), 'mine')), { 'ops/a.py/deep/precious.txt': 'mine' }],
  ['an empty folder in a file’s place', 'ops/a.py', inPlaceOf('ops/a.py', (path) => mkdirSync(path)), {}],
  ['a file in a folder’s place', 'ops', inPlaceOf('ops', (path) => write(path, 'mine')), { ops: 'mine' }],
]
if (process.platform !== 'win32') {
  cases.push(['a pipe in a file’s place', 'ops/a.py', inPlaceOf('ops/a.py', (path) => execFileSync('mkfifo', [path])), {}])
  cases.push(['a link to nowhere in a folder’s place', 'ops', inPlaceOf('ops', (path) => symlinkSync('nowhere', path)), { ops: '(special)' }])
}

test.each(cases)('%s is named before anything is changed; with force it is kept and all comes back', async (_, name, obstruct, copied) => {
  const snapshot = await saveSnapshot(home, changed())
  obstruct()
  const now = tree(site)
  await expect(restoreSnapshot(home, snapshot)).rejects.toMatchObject({ code: 'HOST_CHANGED', details: { files: [name] } })
  expect([tree(site), (await listSnapshots(home)).snapshots[0]?.state]).toEqual([now, 'done'])
  const { replaced } = await restoreSnapshot(home, snapshot, true)
  expect([tree(site), readdirSync(site)]).toEqual([BEFORE, ['ops']])
  expect(tree(replaced ?? '')).toEqual(copied)
  expect((await listSnapshots(home)).snapshots[0]?.state).toBe('restored')
})

test('a killed install with a folder in a file’s place stays as it is, and a start says so', async () => {
  await saveSnapshot(home, { ...changed(), state: 'open' })
  inPlaceOf('ops/a.py', (path) => mkdirSync(path))()
  const now = tree(site)
  expect(await recoverInPlace(home)).toEqual([expect.stringMatching(/cannot be undone: .*ops\/a\.py changed\. Nothing was changed\. .*--force/)])
  expect(tree(site)).toEqual({ ...now, '.envmanager.lock': '' })
})

test('a snapshot of an older version, which does not know what is ours, takes a folder there with a copy', async () => {
  const { written: _, folders: __, ...older } = changed()
  put('ops-1.dist-info/RECORD', 'ops/a.py,,\nops/b.py,,\nops/new.py,,\n')
  inPlaceOf('ops/a.py', (path) => write(join(path, 'precious.txt'), 'mine'))()
  const { replaced } = await restoreSnapshot(home, older)
  expect(tree(site)).toEqual(BEFORE)
  expect(tree(replaced ?? '')).toMatchObject({ 'ops/a.py/precious.txt': 'mine' })
})

test('what the change itself made of a file or folder is no obstacle, unless somebody has put something into it', async () => {
  const turned = (): Snapshot => {
    rmSync(join(site, 'data'), { recursive: true, force: true })
    put('data/x.py', 'X NEW')
    put('data/__pycache__/x.cpython-311.pyc', 'bytecode')
    put('table', 'T NEW')
    const files = [kept('data', 'DATA OLD'), kept('table/row.py', 'R OLD')]
    return { ...changed(), kept: [{ name: 'ops', version: '1', files }], written: [{ path: 'data/x.py', sha256: sha('X NEW') }, { path: 'table', sha256: sha('T NEW') }], folders: ['data'] }
  }
  const snapshot = turned()
  await restoreSnapshot(home, snapshot)
  expect(tree(site)).toMatchObject({ data: 'DATA OLD', 'table/row.py': 'R OLD' })
  rmSync(join(site, 'table'), { recursive: true })
  turned()
  put('data/precious.txt', 'mine')
  await expect(restoreSnapshot(home, snapshot)).rejects.toMatchObject({ code: 'HOST_CHANGED', details: { files: ['data'] } })
})

test('a folder in the place of bytecode stops nothing', async () => {
  const snapshot = changed()
  put('ops/__pycache__/b.cpython-311.pyc/x', 'x')
  put('ops/__pycache__/a.cpython-311.pyc/x', 'x')
  await restoreSnapshot(home, snapshot)
  expect(tree(site)).toMatchObject(BEFORE)
})
