import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { CliResult, RunningCli } from '../support/cli.ts'
import { errorOf, LOCAL } from '../support/installs.ts'
import { OwnHost } from '../support/ownHost.ts'
import { treeState } from '../support/trees.ts'

/** How often an install, and a restore, is killed. */
const KILLS = Number(process.env.KILLS ?? 8)

const eye = (kind: string): Record<string, string> => ({ 'eye/__init__.py': `KIND = '${kind}'\n`, 'eye/core/__init__.py': `CORE = '${kind}'\n` })

let host: OwnHost

beforeAll(async () => {
  const tool = { 'DATA/scripts/tool': '#!python\nprint("new")\n', 'DATA/data/share/tool/new.txt': 'new\n', 'DATA/data/share/tool/there.txt': 'new\n', 'DATA/headers/tool.h': '/* new */\n', 'DATA/purelib/loose.py': 'NEW = 1\n' }
  const entry = { 'INFO/entry_points.txt': '[console_scripts]\nentry = tool:main\n' }
  const wheels = [
    { name: 'eye_window', version: '1.0', extra: { ...eye('window'), 'eye/window.py': 'SHOWS = True\n' } },
    { name: 'eye_plain', version: '1.0', extra: eye('plain 1') },
    { name: 'eye_plain', version: '1.1', extra: eye('plain 1.1') },
    { name: 'tool', version: '1.0', extra: { ...tool, ...entry } },
    { name: 'ops', version: '1.0', ...LOCAL, files: 20 },
    { name: 'ops', version: '2.0', ...LOCAL, files: 20 },
    { name: 'ops', version: '3.0', ...LOCAL, files: 20 },
    { name: 'turn', version: '1.0', ...LOCAL, extra: { turned: 'a file\n', 'back/x.txt': 'in a folder\n' } },
    { name: 'turn', version: '2.0', ...LOCAL, extra: { 'turned/x.py': 'X = 2\n', back: 'a file\n' } },
    { name: 'old', version: '1.0' },
    { name: 'torch', version: '2.13.0', python: 'here', tag: 'here' },
  ]
  host = await OwnHost.start(wheels, ['torch==2.13.0', 'eye_plain==1.0', 'ops==1.0'])
})

afterAll(() => host.close())

const state = (): Record<string, string> => treeState(host.venv)
const EYE = 'import eye, eye.core; print(eye.KIND, eye.core.CORE)'

async function installed(name: string, wheels: string[], packages: string[]): Promise<string> {
  const { code, json, stderr, stdout } = await host.inPlace(host.pack(name, wheels, packages), '--yes')
  expect([code, code === 0 ? '' : `${stdout}\n${stderr}`]).toEqual([0, ''])
  return (json as { snapshot: string }).snapshot
}

async function restored(snapshot: string, ...args: string[]): Promise<CliResult> {
  const done = await host.comfyEnv('restore', snapshot, '--offline', ...args)
  expect([done.code, done.code === 0 ? '' : done.stdout]).toEqual([0, ''])
  return done
}

test('files of two owners: both packages work, and restore gives the other one its files back', async () => {
  const before = state()
  const snapshot = await installed('two-owners', [], ['eye_window'])
  expect(host.says(`${EYE}; import eye.window`)).toBe('window window')
  await restored(snapshot)
  expect(state()).toEqual(before)
  expect(host.says(EYE)).toBe('plain 1 plain 1')
})

test('scripts, data and headers: what was there comes back with its mode, as the link that it was, and what is new goes with its folders', async () => {
  writeFileSync(join(host.venv, 'bin', 'tool'), '#!/bin/sh\necho mine\n')
  chmodSync(join(host.venv, 'bin', 'tool'), 0o751)
  symlinkSync('python', join(host.venv, 'bin', 'entry'))
  mkdirSync(join(host.venv, 'share', 'tool'), { recursive: true })
  writeFileSync(join(host.venv, 'share', 'tool', 'there.txt'), 'mine\n')
  writeFileSync(join(host.site, 'loose.py'), 'MINE = 1\n')
  const before = state()
  const snapshot = await installed('tool-pack', [], ['tool'])
  expect(host.says('import loose; print(loose.NEW)')).toBe('1')
  expect(existsSync(join(host.venv, 'share', 'tool', 'new.txt'))).toBe(true)
  await restored(snapshot)
  expect(state()).toEqual(before)
})

test('what others changed since is not lost: restore names it and changes nothing, and with --force keeps a copy', async () => {
  const before = state()
  const snapshot = await installed('changed-since', ['ops==2.0'], ['eye_window'])
  await host.uvInstall(['eye_plain==1.1', 'ops==3.0'])
  const now = state()
  const refused = await host.comfyEnv('restore', snapshot)
  expect([refused.code, errorOf(refused).code]).toEqual([1, 'HOST_CHANGED'])
  expect(errorOf(refused).message).toMatch(/ops-3\.0.* was installed; .*ops\/__init__\.py/)
  expect(state()).toEqual(now)
  const { json } = await restored(snapshot, '--force')
  const { replaced } = json as { replaced: string }
  expect(readFileSync(join(replaced, 'ops', '__init__.py'), 'utf8')).toContain('3.0')
  expect(host.says(`${EYE}; import ops; print(ops.__version__)`)).toBe('plain 1.1 plain 1.1\n1.0')
  await host.uvInstall(['--reinstall', 'eye_plain==1.0'])
  expect(state()).toEqual(before)
})

test('what another package has by now is left to it: one that came or was updated since, and one that is gone', async () => {
  const before = state()
  const updated = await installed('updated', [], ['eye_window'])
  await host.uvInstall(['eye_plain==1.1'])
  expect((await restored(updated)).json).toMatchObject({ replaced: null, left: ['eye/__init__.py', 'eye/core/__init__.py'] })
  expect(host.says(EYE)).toBe('plain 1.1 plain 1.1')
  await host.uvInstall(['eye_plain==1.0'])
  expect(state()).toEqual(before)

  const gone = await installed('gone', [], ['eye_window'])
  await host.uvUninstall('eye_plain')
  await restored(gone)
  expect(existsSync(join(host.site, 'eye'))).toBe(false)

  const later = await installed('later', [], ['eye_window'])
  await host.uvInstall(['eye_plain==1.0'])
  await restored(later)
  expect(state()).toEqual(before)
  expect(host.says(EYE)).toBe('plain 1 plain 1')
})

test('a file that the new version made a folder, and a folder that it made a file, come back', async () => {
  const untouched = state()
  await host.uvInstall(['turn==1.0'])
  const before = state()
  const snapshot = await installed('turning', ['turn==2.0'], [])
  expect(host.says('import turned.x; print(turned.x.X)')).toBe('2')
  await restored(snapshot)
  expect(state()).toEqual(before)
  await host.uvUninstall('turn')
  expect(state()).toEqual(untouched)
})

test('a folder in a file’s place is named and left alone; with --force it is kept and the file comes back', async () => {
  const before = state()
  const snapshot = await installed('obstructed', ['ops==2.0'], [])
  const file = join(host.site, 'ops', '__init__.py')
  rmSync(file)
  mkdirSync(file)
  writeFileSync(join(file, 'precious.txt'), 'mine')
  const now = state()
  const refused = await host.comfyEnv('restore', snapshot)
  expect([refused.code, errorOf(refused)]).toMatchObject([1, { code: 'HOST_CHANGED', message: expect.stringContaining('ops/__init__.py changed. Nothing was changed.') }])
  expect(state()).toEqual(now)
  const { replaced } = (await restored(snapshot, '--force')).json as { replaced: string }
  expect(readFileSync(join(replaced, 'ops', '__init__.py', 'precious.txt'), 'utf8')).toBe('mine')
  expect(state()).toEqual(before)
})

test('bytecode of another content decides nothing, neither after the install nor after its undoing', async () => {
  const unchecked = (...files: string[]): string => host.says(`import py_compile\nfor f in ${JSON.stringify(files.map((file) => join(host.site, file)))}: py_compile.compile(f, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)`)
  unchecked('eye/__init__.py', 'eye/core/__init__.py', 'ops/__init__.py')
  const snapshot = await installed('bytecode', ['ops==2.0'], ['eye_window'])
  expect(host.says(`${EYE}; import ops; print(ops.__version__)`)).toBe('window window\n2.0')
  unchecked('eye/__init__.py', 'eye/core/__init__.py', 'ops/__init__.py')
  await restored(snapshot)
  expect(host.says(`${EYE}; import ops; print(ops.__version__)`)).toBe('plain 1 plain 1\n1.0')
})

test('a package that does not say which files it has is refused, and nothing has changed', async () => {
  const info = join(host.site, 'old-0.9.egg-info')
  mkdirSync(info)
  writeFileSync(join(info, 'PKG-INFO'), 'Metadata-Version: 1.0\nName: old\nVersion: 0.9\n')
  const before = state()
  const result = await host.inPlace(host.pack('eggs', [], ['old==1.0']), '--yes')
  expect([result.code, errorOf(result).code]).toEqual([1, 'VERIFY_FAILED'])
  expect(errorOf(result).message).toContain('old-0.9.egg-info')
  expect(state()).toEqual(before)
  rmSync(info, { recursive: true })
})

/** Kills a command after a part of the time that it takes. */
async function killAt(running: RunningCli, moment: number): Promise<void> {
  await Promise.race([running.ended, pause(moment)])
  running.process.kill('SIGKILL')
  await running.ended
}

/** The snapshots that stand, newest first. */
async function standing(): Promise<string[]> {
  const { json } = await host.comfyEnv('snapshots')
  return (json as { snapshots: { id: string; state: string }[] }).snapshots.filter((one) => one.state !== 'restored').map(({ id }) => id)
}

/** Neither a trial nor a file made ready nor a note is left, and each folder is a snapshot. */
function nothingIsLeft(): void {
  const folders = readdirSync(join(host.folder, 'home', 'snapshots'))
  expect(folders.flatMap((name) => readdirSync(join(host.folder, 'home', 'snapshots', name)).filter((one) => one === 'stage'))).toEqual([])
  expect(folders.filter((name) => !existsSync(join(host.folder, 'home', 'snapshots', name, 'snapshot.json')))).toEqual([])
  expect(readdirSync(host.site).filter((name) => name.startsWith('.envmanager'))).toEqual(['.envmanager.lock'])
}

test(`killed at any moment, ${KILLS} times each, an install is old or new and a restore is taken up`, { timeout: 60_000 + KILLS * 20_000 }, async () => {
  const before = state()
  const args = ['install', '--pack', host.pack('kills', ['ops==2.0'], ['eye_window', 'tool']), '--in-place', '--yes']
  const began = performance.now()
  const first = (await host.start(args).ended).json as { snapshot: string }
  const took = performance.now() - began
  const after = state()
  await restored(first.snapshot)
  for (let round = 0; round < KILLS; round++) {
    await killAt(host.start(args), (1.2 * took * (round + 0.5)) / KILLS)
    const [snapshot] = await standing()
    expect([round, state()]).toEqual([round, snapshot === undefined ? before : after])
    nothingIsLeft()
    if (snapshot !== undefined) await restored(snapshot)
    expect([round, state()]).toEqual([round, before])
  }
  const short = performance.now()
  await host.comfyEnv('snapshots')
  const start = performance.now() - short
  for (let round = 0; round < KILLS; round++) {
    const snapshot = await installed('kills', ['ops==2.0'], ['eye_window', 'tool'])
    await killAt(host.start(['restore', snapshot]), start * (0.6 + (round + 0.5) / KILLS))
    const [left] = await standing()
    expect([round, state()]).toEqual([round, left === undefined ? before : after])
    nothingIsLeft()
    if (left !== undefined) await restored(left)
    expect([round, state()]).toEqual([round, before])
  }
  execFileSync(host.python, ['-c', 'import ops, eye, torch'])
})
